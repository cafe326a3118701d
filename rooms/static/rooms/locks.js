// Locks that tell who is alive: the browser releases those of a tab or worker that is gone, however it went.

/**
 * Hold a lock for as long as one lives, or until the signal.
 *
 * @param {string} name
 * @param {AbortSignal} signal
 * @param {{ steal?: boolean, robbed?: () => void }} [options] steal: from a holder that does not answer any more; robbed:
 *   called when somebody did that to us
 * @returns {Promise<void>} when it is ours
 */
export function hold(name, signal, { steal = false, robbed = () => {} } = {}) {
  return new Promise((ours) => {
    const held = () => {
      ours();
      return new Promise((end) => (signal.aborted ? end(0) : signal.addEventListener("abort", end)));
    };
    navigator.locks.request(name, steal ? { steal } : { signal }, held).catch(() => signal.aborted || robbed());
  });
}

/**
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {Promise<void>} when nobody holds it any more
 */
export function released(name, signal) {
  const options = { signal, mode: /** @type {const} */ ("shared") };
  return new Promise((yes) => void navigator.locks.request(name, options, () => yes()).catch(() => {}));
}
