// The one place that knows the libraries: html`...` makes elements, the rest is preact's own.
import { h, render, Fragment } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

export { useState, useEffect, useRef, useCallback, useMemo } from "./vendor/hooks.mjs";
export { render, Fragment };

/** Values always become text or properties, never markup. */
export const html = htm.bind(h);
