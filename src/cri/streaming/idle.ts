/** A connection on which nothing has moved for long enough is given up. */

export interface IdleTimer {
  /** Something moved. */
  touch(): void;
  stop(): void;
}

/** Calls `onIdle` once, `milliseconds` after the last touch. Does not keep the process alive. */
export function idleTimer(milliseconds: number, onIdle: () => void): IdleTimer {
  let stopped = false;
  const timer = setTimeout(onIdle, milliseconds);
  timer.unref();
  return {
    touch: () => {
      if (!stopped) timer.refresh(); // refreshing would bring a cleared timer back
    },
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
