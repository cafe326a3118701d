// How long things take that a test shortens, in ms.

export const TIMES = {
  patience: 2_500, // without live.hello; then the next transport begins beside it
  climb: 30_000, // on a fallback, until the first choice is tried again
  remembered: 30 * 60_000, // that a fallback which worked is where the next page begins
  linger: 30_000, // that a word of higher rank holds after the last tab took it back
};
