/**
 * How much V8 may put into one function: what a fault does is many small functions, and by default half of them are
 * called where they could be part of their caller. Before anything else is compiled, because V8's cache of compiled
 * sources is for one set of flags. docs/decisions/0002-hot-path.md has what it gains.
 */
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--max-inlined-bytecode-size-cumulative=2500");
