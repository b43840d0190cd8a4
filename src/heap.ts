/** How V8 sizes this process, and what it keeps. */
import { setFlagsFromString } from 'node:v8'

/**
 * From now on V8 collects garbage rather than growing its heap: resident memory then says what a run holds, not how
 * long it has been going. For commands that make garbage at a steady rate for as long as the library is large. By
 * itself V8 doubles its young generation with all that ever survived a collection, to 128 MiB on 64 bits, whatever
 * the program keeps. Costs CPU: measured on `verify`, 1.7 times as much.
 *
 * `--optimize-for-size` is read at each decision to grow, so it works after start (https://nodejs.org/api/v8.html);
 * `--max-semi-space-size` would not. `npm run bench:verify` shows whether it still does.
 */
export function preferSmallHeap(): void {
  setFlagsFromString('--optimize-for-size')
}

/**
 * The milder of the two: the young generation stays as large as it is by now, and the old one is collected when it has
 * doubled, not only when it has tripled or more. For commands whose pages live for a while, so that a small young
 * generation would be copied over and over: on `reconcile` a quarter more CPU for half the memory
 * (`npm run bench:reconcile`).
 */
export function keepHeapLevel(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--heap-growing-percent=100')
}

/**
 * From now on V8 keeps the code of WebAssembly that it has compiled better since, some megabytes. Where several threads compile
 * and free such code at once (the embedded database, decoders, the network that hears voices), V8 loses count of its pages
 * now and then and ends the process ("Check failed: jit_page.has_value()", SIGTRAP or SIGSEGV;
 * https://github.com/nodejs/node/issues/64500): what is not freed cannot be counted wrongly.
 */
export function keepWasmCode(): void {
  setFlagsFromString('--no-wasm-code-gc')
}

/**
 * Has V8 compile WebAssembly that is loaded before `loaded` a second, better time only once it has run for long. By
 * itself it does so with whatever an opening of the embedded database runs much of, in the background, and the process
 * does not end before that: one function of PGlite takes 600 MB and a second (`--trace-wasm-compilation-times`), so that
 * `status` took 1.7 s and 740 MB, not 1.0 s and 170 MB. Each function's budget is set when its module is loaded.
 */
export async function compileBetterLate(loaded: Promise<unknown>): Promise<void> {
  setFlagsFromString('--wasm-tiering-budget=2000000000')
  try {
    await loaded
  } finally {
    setFlagsFromString('--wasm-tiering-budget=13000000') // as V8 has it
  }
}
