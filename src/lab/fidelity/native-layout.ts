/**
 * Lays a recording's address spaces out as a native Linux would: a second machine makes only the calls that change
 * areas, and its kernel chooses the places. Events come back with the addresses they would have had.
 */
import { bug } from "../../base/errors.ts";
import { PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import type { Argument } from "../../mm/syscalls.ts";
import type { MachineSpec } from "../../presets.ts";
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_GROWSDOWN,
  MAP_PRIVATE,
  MREMAP_FIXED,
  PROT_READ,
  PROT_WRITE,
} from "../import/calls.ts";
import type { EventOf, Region, TraceEvent } from "../trace/event.ts";
import { Moves } from "./moves.ts";
import { execStores, type ImageGroup, type Loading, type RecordedImage, recordedImage } from "./native-image.ts";
import { vdsoOf } from "./vdso.ts";

/** One process of the recording, on the machine that lays it out. */
interface LaidProcess {
  readonly thread: Thread;
  readonly moves: Moves;
  /** The vdso's first page. */
  vdsoPage: Vpn;
  /** To be added to a recorded break. */
  brkDistance: number;
}

/** Room of a stack that the recorder has mapped at once and a kernel lets grow. */
const STACK_ROOM_BYTES = 8 * 1024 * 1024;
const MAP_POPULATE = 0x8000;
const MAP_LOCKED = 0x2000;
/** They touch pages, and no layout depends on that. */
const TOUCHING = MAP_POPULATE | MAP_LOCKED;

/** Events that stand for one of the recording. */
export interface LaidEvents {
  readonly events: readonly TraceEvent[];
  /** A page that the dynamic linker reads next, although the recorder did not see it. */
  readonly thenLoads: Vpn | null;
}

const only = (...events: TraceEvent[]): LaidEvents => ({ events, thenLoads: null });

export class NativeLayout {
  private readonly machine: Machine;
  private readonly spec: MachineSpec;
  private readonly processes = new Map<number, LaidProcess>();
  /** By thread: its process. */
  private readonly processOf = new Map<number, number>();
  private readonly warmed = new Set<string>();
  private readonly file: OpenFile;
  private current = 0;

  constructor(spec: MachineSpec) {
    this.spec = spec;
    this.machine = new Machine(spec);
    // Only that there is a file matters, not which one.
    const largest = 2 ** 46;
    this.file = new OpenFile(
      this.machine.kernel.files.create({ name: "any file", kind: "regular", sizeBytes: largest }),
      "read-write",
    );
  }

  /** The records that follow are this thread's. */
  enter(thread: number): void {
    this.current = thread;
  }

  /** Where the current thread's pages lie; null if it is not known. */
  get moves(): Moves | null {
    return this.here?.moves ?? null;
  }

  private get here(): LaidProcess | undefined {
    return this.processes.get(this.processOf.get(this.current) ?? -1);
  }

  event(event: TraceEvent): LaidEvents {
    switch (event.op) {
      case "start":
        return this.start(event);
      case "switch":
        this.enter(event.thread);
        return only(event);
      case "fork":
        return this.fork(event);
      case "exec":
        return this.exec(event);
      case "exit":
        return this.exit(event);
      case "call":
        return this.call(event);
      case "kernel-access":
        return this.kernelAccess(event);
      case "open":
        return only(event, ...this.warm(event.path, event.sizeBytes));
      default:
        return only(event);
    }
  }

  private start(event: EventOf<"start">): LaidEvents {
    const process = this.machine.spawn(event.name ?? "");
    const laid: LaidProcess = { thread: process.threads[0], moves: new Moves(), vdsoPage: 0, brkDistance: 0 };
    this.processes.set(event.process, laid);
    this.processOf.set(event.thread, event.process);
    this.current = event.thread;
    return this.loaded(laid, event);
  }

  private exec(event: EventOf<"exec">): LaidEvents {
    const laid = this.here;
    if (laid === undefined) return only(event);
    this.machine.exec(laid.thread);
    laid.moves.clear();
    return this.loaded(laid, event);
  }

  /** Places a program; the event, what warms its files, and what exec touches. */
  private loaded<Event extends (EventOf<"start"> | EventOf<"exec">) & Loading>(
    laid: LaidProcess,
    event: Event,
  ): LaidEvents {
    const image = recordedImage(event);
    const { moves } = laid;
    this.place(laid, image);
    laid.brkDistance = laid.thread.mm.startBrk - event.brk;
    const regions: Region[] = [];
    for (const group of [image.program, image.linker])
      for (const region of group?.regions ?? []) regions.push(moved(region, moves));
    const stack = moved(image.stack, moves);
    regions.push(stack, ...this.vdsoRegions(laid));
    regions.sort((a, b) => a.start - b.start);
    const brk = laid.thread.mm.startBrk;
    const events: TraceEvent[] = [{ ...event, regions, brk }];
    for (const { file, fileBytes } of regions)
      if (file !== undefined && fileBytes !== undefined) events.push(...this.warm(file, fileBytes));
    for (const { address, lengthBytes } of execStores(image))
      events.push({ op: "kernel-access", address: moves.address(address), lengthBytes, kind: "store" });
    return { events, thenLoads: image.linker === null ? null : laid.vdsoPage };
  }

  private place(laid: LaidProcess, image: RecordedImage): void {
    const { program, linker, stack, isRelocatable } = image;
    const { moves, thread } = laid;
    const { layout } = this.machine.kernel;
    const top = layout.stackTop * PAGE_SIZE;
    this.map(laid, stack, top - (stack.end - stack.start), MAP_GROWSDOWN);
    moves.set(pageOf(stack.end - STACK_ROOM_BYTES), pageOf(stack.end), pageOf(top - STACK_ROOM_BYTES));
    const base = isRelocatable ? layout.imageBase * PAGE_SIZE : program.start;
    this.map(laid, program, isRelocatable && linker === null ? 0 : base, 0);
    const { mm } = thread;
    mm.startBrk = mm.brk = moves.address(program.end - 1) + 1;
    mm.startCode = mm.endCode = moves.address(program.start);
    if (linker !== null) this.map(laid, linker, 0, 0);
    const { vvarPages, vdsoPages } = vdsoOf(this.spec.kernel);
    const special = this.made(thread, "mmap", [0, (vvarPages + vdsoPages) * PAGE_SIZE, PROT_READ, ANONYMOUS, null, 0]);
    laid.vdsoPage = pageOf(special) + vvarPages;
  }

  /** Maps `group` as one area at `address`, or where the kernel likes if that is 0. */
  private map(laid: LaidProcess, group: ImageGroup | Region, address: Vaddr, flags: number): void {
    const lengthBytes = group.end - group.start;
    const how = ANONYMOUS | flags | (address === 0 ? 0 : MAP_FIXED);
    const place = this.made(laid.thread, "mmap", [address, lengthBytes, PROT_READ | PROT_WRITE, how, null, 0]);
    if (place < 0) bug(`no room for ${lengthBytes} bytes of a program`);
    laid.moves.set(pageOf(group.start), pageOf(group.end), pageOf(place));
  }

  private vdsoRegions({ vdsoPage }: LaidProcess): Region[] {
    const { vvarPages, vdsoPages } = vdsoOf(this.spec.kernel);
    const start = vdsoPage * PAGE_SIZE;
    const end = start + vdsoPages * PAGE_SIZE;
    const vvar = start - vvarPages * PAGE_SIZE;
    return [
      { start: vvar, end: start, rights: "r--p", what: "vvar", offset: 0 },
      { start, end, rights: "r-xp", what: "vdso", offset: 0, file: "[vdso]", fileBytes: PAGE_SIZE },
    ];
  }

  /** The file has been read before: no fault on it waits for a disk. */
  private warm(path: string, sizeBytes: number): TraceEvent[] {
    if (sizeBytes === 0 || this.warmed.has(path)) return [];
    this.warmed.add(path);
    return [{ op: "read", path, offset: 0, lengthBytes: sizeBytes }];
  }

  private fork(event: EventOf<"fork">): LaidEvents {
    const laid = this.here;
    this.processOf.set(event.child, event.process);
    if (laid === undefined || this.processes.has(event.process)) return only(event);
    if (event.shares === "memory") {
      this.processes.set(event.process, laid);
      return only(event);
    }
    const child = this.machine.fork(laid.thread);
    if (typeof child !== "number")
      this.processes.set(event.process, { ...laid, thread: child.threads[0], moves: laid.moves.copy() });
    return only(event);
  }

  private exit(event: EventOf<"exit">): LaidEvents {
    const id = this.processOf.get(event.thread);
    const laid = id === undefined ? undefined : this.processes.get(id);
    if (id === undefined || laid === undefined || event.scope === "thread") return only(event);
    const isShared = [...this.processes.values()].filter((other) => other.thread === laid.thread).length > 1;
    if (!isShared) this.machine.exit(laid.thread.process, event.status);
    this.processes.delete(id);
    return only(event);
  }

  private kernelAccess(event: EventOf<"kernel-access">): LaidEvents {
    const parts = this.moves?.parts(event.address, event.lengthBytes) ?? [];
    return only(...parts.map((part) => ({ ...event, ...part })));
  }

  private call(event: EventOf<"call">): LaidEvents {
    const laid = this.here;
    if (laid === undefined) return only(event);
    if (event.name === "mmap") return this.mmap(laid, event);
    if (event.name === "mremap") return only(this.mremap(laid, event));
    if (event.name === "brk") return only(this.brk(laid, event));
    if (event.name === "shmat") return only(this.shmat(laid, event));
    if (event.name === "shmdt") return only({ ...event, args: [laid.moves.address(event.args[0])] });
    return this.onRange(laid, event);
  }

  private mmap({ thread, moves }: LaidProcess, event: EventOf<"call">): LaidEvents {
    const [hint, lengthBytes, prot, flags, , offset] = event.args as [number, number, number, number, number, number];
    const isFixed = (flags & MAP_FIXED) !== 0;
    const address = isFixed || moves.has(pageOf(hint)) ? moves.address(hint) : 0;
    const args = [address, ...event.args.slice(1)];
    if (event.result < 0) return only({ ...event, args });
    const file = (flags & MAP_ANONYMOUS) === 0 ? this.file : null;
    const place = this.made(thread, "mmap", [address, lengthBytes, prot, flags & ~TOUCHING, file, offset]);
    if (place < 0) bug(`the layout has no room for an mmap of ${lengthBytes} bytes`);
    moves.set(pageOf(event.result), pageOf(event.result) + Math.ceil(lengthBytes / PAGE_SIZE), pageOf(place));
    const mapped: TraceEvent = { ...event, args, result: place };
    if (event.file?.sizeBytes === undefined || file === null) return only(mapped);
    // The file must be there before it can be read.
    return only(
      { op: "open", path: event.file.path, sizeBytes: event.file.sizeBytes },
      ...this.warm(event.file.path, event.file.sizeBytes),
      mapped,
    );
  }

  private mremap({ thread, moves }: LaidProcess, event: EventOf<"call">): TraceEvent {
    const [address, oldBytes, newBytes, flags, newAddress = 0] = event.args as number[];
    const from = moves.address(address!);
    const wanted = (flags! & MREMAP_FIXED) === 0 ? 0 : moves.address(newAddress);
    if (event.result < 0) return { ...event, args: [from, oldBytes!, newBytes!, flags!, wanted] };
    const place = this.made(thread, "mremap", [from, oldBytes!, newBytes!, flags!, wanted]);
    if (place < 0) bug(`the layout has no room for an mremap to ${newBytes} bytes`);
    moves.remove(pageOf(address!), pageOf(address!) + Math.ceil(oldBytes! / PAGE_SIZE));
    moves.set(pageOf(event.result), pageOf(event.result) + Math.ceil(newBytes! / PAGE_SIZE), pageOf(place));
    return { ...event, args: [from, oldBytes!, newBytes!, flags!, place], result: place };
  }

  /** The break moves as it did, from where it starts here. */
  private brk({ thread, moves, brkDistance }: LaidProcess, event: EventOf<"call">): TraceEvent {
    const { mm } = thread;
    const asked = event.args[0] ?? 0;
    const result = this.made(thread, "brk", [event.result + brkDistance]);
    const first = pageOf(mm.startBrk - brkDistance);
    const end = Math.ceil(event.result / PAGE_SIZE);
    if (end > first) moves.set(first, end, pageOf(mm.startBrk));
    return { ...event, args: [asked === 0 ? 0 : asked + brkDistance], result };
  }

  private shmat({ thread, moves }: LaidProcess, event: EventOf<"call">): TraceEvent {
    if (event.result < 0) return event;
    const lengthBytes = Math.ceil((event.file?.sizeBytes ?? PAGE_SIZE) / PAGE_SIZE) * PAGE_SIZE;
    const place = this.made(thread, "mmap", [0, lengthBytes, PROT_READ | PROT_WRITE, 1 | MAP_ANONYMOUS, null, 0]);
    moves.set(pageOf(event.result), pageOf(event.result) + lengthBytes / PAGE_SIZE, pageOf(place));
    return { ...event, args: [event.args[0], 0, event.args[2] ?? 0], result: place };
  }

  /** A call on a range of addresses: one for each part that lies in a row. */
  private onRange({ thread, moves }: LaidProcess, event: EventOf<"call">): LaidEvents {
    const [address = 0, lengthBytes = 0, ...rest] = event.args;
    if (event.name === "mlockall" || event.name === "munlockall") return only(event);
    const calls = moves
      .parts(address, lengthBytes)
      .map((part) => ({ ...event, args: [part.address, part.lengthBytes, ...rest] }));
    if (event.name === "munmap" && event.result === 0) {
      for (const { args } of calls) this.made(thread, "munmap", args);
      moves.remove(pageOf(address), Math.ceil((address + lengthBytes) / PAGE_SIZE));
    }
    if (event.name === "mprotect" && event.result === 0)
      for (const { args } of calls) this.made(thread, "mprotect", args);
    return only(...calls);
  }

  private made(thread: Thread, name: string, args: readonly Argument[]): number {
    return this.machine.call(thread, name, args);
  }
}

const ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS;

function moved(region: Region, moves: Moves): Region {
  const start = moves.address(region.start);
  return { ...region, start, end: start + (region.end - region.start) };
}
