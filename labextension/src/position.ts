/** Where a listener stands in the feed, and how long it waits after a lost connection. Pure. */

import type { FeedMessage } from './records';

const FIRST_DELAY = 500;
const LONGEST_DELAY = 30_000;

/**
 * Milliseconds before attempt number `attempt` (from 0): doubling, with jitter in the upper half, so that many browsers
 * do not come back to a restarted server at the same moment. `chance` is in [0, 1).
 */
export function reconnectDelay(attempt: number, chance: number): number {
  const whole = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** attempt);
  return Math.round(whole * (0.5 + chance / 2));
}

export interface IStep {
  /** The id of the last event that was passed on; null before the first hello. */
  last: number | null;
  /** The message, where it is news. */
  message: FeedMessage | null;
}

/** Read a frame. Frames that are not understood, and events that were passed on before, are no news. */
export function advance(last: number | null, frame: string): IStep {
  const message = read(frame);
  if (message === null) {
    return { last, message };
  }
  if (message.type === 'hello') {
    // the server sends what came after `last` next, so it stays; a smaller number is that of another database
    const from = last === null ? message.last : Math.min(last, message.last);
    return { last: from, message };
  }
  if (message.type === 'event') {
    return last !== null && message.id <= last
      ? { last, message: null }
      : { last: message.id, message };
  }
  return { last, message };
}

function read(frame: string): FeedMessage | null {
  try {
    const found = JSON.parse(frame);
    return found && ['hello', 'event', 'progress'].includes(found.type)
      ? found
      : null;
  } catch {
    return null;
  }
}
