/**
 * Live lines on stderr. listr2 takes no tasks while it runs, so all lines exist from the start, blank until somebody gives
 * them a title; it hides the cursor meanwhile, which must not stay hidden when the process ends at once.
 */
import { writeSync } from 'node:fs';
import { Listr, ListrLogger, type ListrTaskState, ProcessOutput } from 'listr2';

/** What listr2 calls a task, one line on the screen; only what is used here. */
export interface Row {
  title?: string;
  state: string;
  state$: ListrTaskState;
}

/** Draws `count` lines until `over`; each is handed out, with its number, when listr2 has begun it. */
export async function drawRows(
  count: number,
  over: Promise<void>,
  onRow: (row: Row, index: number) => void,
): Promise<void> {
  const showCursor = (): void => void writeSync(process.stderr.fd, '\x1b[?25h\n');
  process.once('exit', showCursor);
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  const tasks = Array.from({ length: count }, (_, index) => ({
    title: ' ', // drawn when there is something to say
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
