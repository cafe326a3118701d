// The state of the connection in plain words.

const WORDS = {
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Connection lost, trying again",
  offline: "You are offline",
};

const STOPPED = new Map([
  [4440, "Paused, because nothing happened for a while."],
  [4501, "You are logged out here."],
  [4503, "Live updates are not allowed from this address."],
]);

/**
 * Show a state. The words are announced when they change; the countdown beside them is for the eyes alone.
 *
 * @param {HTMLElement} element with the parts `words` (role=status), `countdown`, `reload` and `login`
 * @returns {(state: import("./connection.js").State) => void}
 */
export function statusLine(element) {
  const [words, countdown, reload, login] = ["words", "countdown", "reload", "login"].map(
    (name) => /** @type {HTMLElement} */ (element.querySelector(`[data-part="${name}"]`)),
  );
  /** @type {number | undefined} */
  let ticking;

  reload.onclick = () => location.reload();

  return ({ state, code, reason, retryAt }) => {
    clearInterval(ticking);
    const stopped = state === "stopped";
    const said = stopped ? whyStopped(reason, code) : WORDS[state];
    if (words.textContent !== said) words.textContent = said;
    element.dataset.state = state;
    element.hidden = false;
    login.hidden = !(stopped && code === 4501);
    reload.hidden = !stopped || !login.hidden;
    countdown.textContent = "";
    if (retryAt !== undefined) {
      const tick = () => {
        const seconds = Math.ceil((retryAt - Date.now()) / 1000);
        const trying = state === "offline" ? ", trying again in" : " in";
        countdown.textContent = seconds > 0 ? `${trying} ${seconds} s` : "";
      };
      tick();
      ticking = setInterval(tick, 500);
    }
  };
}

/** @param {string} [reason] a sentence, where there is no code @param {number} [code] */
function whyStopped(reason, code) {
  if (code === undefined) return reason || "Live updates have stopped.";
  const idle = code !== 4440 || reason === "idle"; // an administrator ends connections with the same code
  return (idle && STOPPED.get(code)) || `Live updates have stopped: ${reason || code}.`;
}
