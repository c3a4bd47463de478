/** An event of a trace as a line that a person reads: `mmap(0x7f..., 8192, r-x, private, libc.so.6) = 0x7f...`. */
import { errnoName } from "../base/errno.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_SHARED, memoryCalls, PROT_EXEC, PROT_READ, PROT_WRITE } from "./import/calls.ts";
import type { EventOf, TraceEvent } from "./trace/event.ts";

export function callText(event: TraceEvent): string {
  switch (event.op) {
    case "call":
      return `${event.name}(${argumentsText(event).join(", ")}) = ${resultText(event)}`;
    case "kernel-access":
      return `the kernel ${event.kind === "load" ? "reads" : "writes"} ${event.lengthBytes} bytes at ${hex(event.address)} for the program`;
    case "start":
      return `starts ${event.name ?? ""} with ${event.regions.length} areas, break at ${hex(event.brk)}`;
    case "exec":
      return `exec of ${event.name ?? "another program"}`;
    case "fork":
      return event.shares === "memory"
        ? `a new thread ${event.child} in the same address space`
        : `fork of process ${event.process}`;
    case "exit":
      return `exit of ${event.scope} ${event.thread} with status ${event.status}`;
    case "switch":
      return `thread ${event.thread} runs`;
    case "open":
    case "ftruncate":
      return `${event.op} ${event.path}, ${event.sizeBytes} bytes`;
    case "close":
      return `close ${event.path}`;
    case "read":
    case "write":
      return `${event.op} ${event.lengthBytes} bytes at ${event.offset} of ${event.path}`;
  }
}

const hex = (value: number): string => (value < 0 ? `-${hex(-value)}` : `0x${value.toString(16)}`);

/** Results below this are small numbers, above it addresses. */
const FIRST_ADDRESS = 4096;

function resultText({ result }: EventOf<"call">): string {
  if (result < 0) return `-${errnoName(result)}`;
  return result < FIRST_ADDRESS ? String(result) : hex(result);
}

function argumentsText({ name, args, file }: EventOf<"call">): string[] {
  const meanings: readonly string[] = Object.hasOwn(memoryCalls, name)
    ? memoryCalls[name as keyof typeof memoryCalls]
    : [];
  return args.flatMap((value, at) => {
    switch (meanings[at]) {
      case "protection":
        return protectionText(value);
      case "flags":
        return name === "mmap" ? mapFlagsText(value) : hex(value);
      case "descriptor":
        return value < 0 ? [] : (file?.path ?? `descriptor ${value}`);
      case "length":
      case "oldLength":
      case "newLength":
        return String(value);
      default:
        return hex(value);
    }
  });
}

function protectionText(bits: number): string {
  return (bits & PROT_READ ? "r" : "-") + (bits & PROT_WRITE ? "w" : "-") + (bits & PROT_EXEC ? "x" : "-");
}

function mapFlagsText(flags: number): string {
  const words = [(flags & MAP_SHARED) !== 0 ? "shared" : "private"];
  if ((flags & MAP_ANONYMOUS) !== 0) words.push("anonymous");
  if ((flags & MAP_FIXED) !== 0) words.push("fixed");
  return words.join(" ");
}
