// A tab whose connection is held by a worker (worker.js).

import { csrfToken } from "./http.js";
import { hold, released } from "./locks.js";
import { newId } from "./protocol.js";

const WELCOME = 5_000; // ms in which a worker that was loaded says something

/** Whether a worker is worth trying: not when a policy forbids it, or its script would come from another origin. */
export let works = "SharedWorker" in globalThis;

/** @type {import("./hosts.js").OpenHost} */
export function inWorker(setup, hear, lost) {
  const tab = `rooms.tab:${newId()}`;
  const life = new AbortController();
  /** @type {MessagePort | undefined} */
  let port;
  /** @type {import("./switchboard.js").Message[][]} */
  const early = [];
  let welcomed = false;

  function close() {
    port?.postMessage({ bye: true });
    port?.close();
    life.abort();
  }

  /** @param {boolean} [working] */
  function end(working = false) {
    if (life.signal.aborted) return;
    works &&= working;
    close();
    lost();
  }

  const unanswered = setTimeout(end, WELCOME);
  life.signal.addEventListener("abort", () => clearTimeout(unanswered));

  async function open() {
    await hold(tab, life.signal); // from its end the worker knows ours
    const options = { type: "module", name: setup.key, extendedLifetime: true };
    const worker = new SharedWorker(new URL("./worker.js", import.meta.url), /** @type {any} */ (options));
    worker.onerror = () => end();
    port = worker.port;
    port.onmessage = ({ data }) => {
      if (!welcomed) released(`rooms.worker:${setup.key}`, life.signal).then(() => end(true));
      welcomed = true;
      clearTimeout(unanswered);
      if (!life.signal.aborted) hear(data);
    };
    for (const said of [{ setup, tab, token: csrfToken() }, ...early]) port.postMessage(said);
  }

  open().catch(() => end());
  return { post: (messages) => (port ? port.postMessage(messages) : early.push(messages)), close };
}
