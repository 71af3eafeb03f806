/**
 * A command is a record: name, summary, arguments, flags, examples and a handler that is imported when the command runs.
 * `registry.ts` lists the records; the parser, the help, the completion and docs/commands.md are made from them. Records
 * import no code of other rooms, so that `kina --help` and short commands start fast.
 */
import type { GlobalFlags } from './terminal/context.ts';

/** Values that the shell completes, looked up when the user presses the key. */
export type Values = () => readonly string[] | Promise<readonly string[]>;

export interface Argument {
  /** `<required>`, `[optional]`, `<several...>` or `[several...]`. */
  readonly name: string;
  readonly description: string;
  readonly values?: Values;
}

export interface FlagOptions {
  readonly default?: string;
  readonly repeatable?: true;
  /** The only values that are accepted. */
  readonly choices?: readonly string[];
  readonly values?: Values;
}

/** `spec` is what the help shows: `-n, --name <name>`, `--json`, `--no-cache`, `--upgrade [name]`. */
export interface Flag<Spec extends string = string, Options extends FlagOptions = FlagOptions> {
  readonly spec: Spec;
  readonly description: string;
  readonly options: Options;
}

export interface Example {
  readonly command: string;
  readonly comment?: string;
}

export interface Command {
  /** The words after `kina`, e.g. `create cluster`. */
  readonly name: string;
  readonly alias?: string;
  readonly summary: string;
  readonly arguments: readonly Argument[];
  readonly flags: readonly Flag[];
  readonly examples: readonly Example[];
  /** A paragraph after the flags. */
  readonly notes?: string;
  readonly load: () => Promise<{ readonly run: Run }>;
}

/** Takes the flags and one parameter for each argument. */
type Run = (flags: never, ...args: never[]) => void | Promise<void>;

interface CommandSource<Arguments extends readonly Argument[], Flags extends readonly Flag[]> {
  readonly name: string;
  readonly alias?: string;
  readonly summary: string;
  readonly arguments?: Arguments;
  readonly flags?: Flags;
  /** Command lines, each with an optional comment. */
  readonly examples?: readonly (readonly [command: string, comment?: string])[];
  readonly notes?: string;
  readonly run: () => Promise<{
    readonly run: (flags: FlagsOf<Flags> & GlobalFlags, ...args: ArgumentsOf<Arguments>) => void | Promise<void>;
  }>;
}

/** The compiler checks that the handler takes these arguments and flags. */
export function defineCommand<
  const Arguments extends readonly Argument[] = [],
  const Flags extends readonly Flag[] = [],
>(source: CommandSource<Arguments, Flags>): Command {
  const { run, arguments: args = [], flags = [], examples = [], ...rest } = source;
  return {
    ...rest,
    arguments: args,
    flags,
    examples: examples.map(([command, comment]) => ({ command, ...(comment === undefined ? {} : { comment }) })),
    load: run as Command['load'],
  };
}

export function flag<const Spec extends string, const Options extends FlagOptions = Record<never, never>>(
  spec: Spec,
  description: string,
  options?: Options,
): Flag<Spec, Options> {
  return { spec, description, options: options ?? ({} as Options) };
}

type LongName<Spec extends string> = Spec extends `${string}--${infer Rest}`
  ? Rest extends `${infer Name} ${string}`
    ? Name
    : Rest
  : never;
type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;
type Key<Spec extends string> = LongName<Spec> extends `no-${infer Name}` ? CamelCase<Name> : CamelCase<LongName<Spec>>;
type ValueOf<Spec extends string, Options> = Options extends { repeatable: true }
  ? string[]
  : Spec extends `${string}<${string}`
    ? Options extends { default: string }
      ? string
      : string | undefined
    : Spec extends `${string}[${string}`
      ? string | boolean
      : boolean;

/** What a handler gets for these flags: `--debian-mirror <url>` is `debianMirror: string | undefined`. */
export type FlagsOf<Flags extends readonly Flag[]> = {
  readonly [F in Flags[number] as Key<F['spec']>]: ValueOf<F['spec'], F['options']>;
};

type ArgumentOf<Name extends string> = Name extends `${string}...${string}`
  ? string[]
  : Name extends `<${string}`
    ? string
    : string | undefined;
type ArgumentsOf<Arguments extends readonly Argument[]> = {
  -readonly [I in keyof Arguments]: ArgumentOf<Arguments[I]['name']>;
};

/** `--name` of `-n, --name <name>`. */
export function longName({ spec }: Flag): string {
  return /--[\w-]+/.exec(spec)![0];
}

/** `-n` of `-n, --name <name>`. */
export function shortName({ spec }: Flag): string | undefined {
  return /^-\w(?=,)/.exec(spec)?.[0];
}

/** Whether a value has to follow: `--name <name>`, but neither `--json` nor `--upgrade [name]`. */
export function takesValue({ spec }: Flag): boolean {
  return spec.includes('<');
}

/** The description as the help and the reference show it. */
export function describeFlag({ description, options }: Flag): string {
  return options.default === undefined ? description : `${description} (default: ${options.default})`;
}

/** Example lines with their comments in one column. */
export function exampleLines({ examples }: Command): string[] {
  const width = Math.max(0, ...examples.flatMap(({ command, comment }) => (comment ? [command.length] : [])));
  return examples.map(({ command, comment }) => (comment ? `${command.padEnd(width)}  # ${comment}` : command));
}
