// What keeps pages current: a figure is asked for again every few seconds, unless that is paused or nobody looks.
import { useState, useEffect, useRef, useCallback } from "./dom.js";
import { get } from "./api.js";

const listeners = new Set();

/** `paused`: by the person who looks. `last`: when something was read last. */
export const live = { paused: false, last: null };

function tell() {
  for (const listener of listeners) listener();
}

export function pause(on) {
  live.paused = on;
  tell();
}

/** The state of live reading; the caller is drawn again when it changes. */
export function useLive() {
  const [, again] = useState(0);
  useEffect(() => {
    const listener = () => again((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return live;
}

/**
 * What `path` answers: {data, error, again}. Read every `every` milliseconds; what was read stays while a later reading
 * fails, and `error` says so.
 */
export function useLoad(path, every = 10000) {
  const [state, setState] = useState({ path: null, data: null, error: null });
  const current = useRef(path);
  current.current = path;

  const read = useCallback(async () => {
    if (!path) return;
    try {
      const data = await get(path);
      if (current.current !== path) return;
      live.last = Date.now();
      setState({ path, data, error: null });
      tell();
    } catch (error) {
      if (current.current === path) setState((old) => ({ path, data: old.path === path ? old.data : null, error }));
    }
  }, [path]);

  useEffect(() => {
    let timer = null;
    let over = false;
    const loop = async () => {
      if (!live.paused && !document.hidden) await read();
      if (!over && every) timer = setTimeout(loop, every);
    };
    read().then(() => {
      if (!over && every) timer = setTimeout(loop, every);
    });
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [read, every]);

  // What was read of another path is not shown under this one.
  return { data: state.path === path ? state.data : null, error: state.path === path ? state.error : null, again: read };
}
