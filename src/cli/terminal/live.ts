/**
 * Live lines on stderr. listr2 takes no tasks while it runs, so all lines exist from the start, blank until they get a
 * title. It hides the cursor, which is shown again even when the process exits at once.
 */
import { writeSync } from 'node:fs';
import { Listr, ListrLogger, type ListrTaskState, ProcessOutput } from 'listr2';

/** The part of a listr2 task that is used here: one line on the screen. */
export interface Row {
  title?: string;
  state: string;
  state$: ListrTaskState;
}

/** Draws `count` lines until `over` resolves; `onRow` gets each, with its index, when listr2 has started it. */
export async function drawRows(
  count: number,
  over: Promise<void>,
  onRow: (row: Row, index: number) => void,
): Promise<void> {
  const showCursor = (): void => void writeSync(process.stderr.fd, '\x1b[?25h\n');
  process.once('exit', showCursor);
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  const tasks = Array.from({ length: count }, (_, index) => ({
    title: ' ', // drawn once it has a title
    task: (_context: unknown, wrapper: { task: Row }): Promise<void> => {
      onRow(wrapper.task, index);
      return over;
    },
  }));
  await new Listr(tasks, {
    concurrent: true,
    exitOnError: false,
    registerSignalListeners: false,
    fallbackRendererCondition: false,
    renderer: 'default',
    rendererOptions: { logger, formatOutput: 'truncate', showErrorMessage: false },
  }).run();
  process.off('exit', showCursor);
}
