/**
 * The back end that records with qemu-user and bigmem's own TCG plugin: the program runs under qemu-x86_64 or
 * qemu-i386, each of its processes connects to a socket, and what they send is put in order and written while it runs.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { KIND_MASK } from "../../lab/trace/format.ts";
import type { TraceWriter } from "../../lab/trace/writer.ts";
import { shapeNamed, shapeOf } from "./calls.ts";
import type { Program } from "./elf.ts";
import { FileNames } from "./files.ts";
import { imageOf, parseMaps } from "./image.ts";
import {
  CALL,
  type CallRecord,
  endsWithLeave,
  leftPacket,
  normalized,
  type Packet,
  PacketBuffers,
  PacketParser,
  RecordView,
  START,
  startsProgram,
  TicketOrder,
} from "./packets.ts";
import { compiledPlugin, I386_BASE, prepareFolder, type QemuTools } from "./qemu-tools.ts";
import type { RecorderStatus } from "./record.ts";
import { Recording, type SeenFile, sharesMemory } from "./recording.ts";

/** Runs the program to its end, and all that it started; everything goes to `writer`. */
export async function recordWithQemu(tools: QemuTools, program: Program, writer: TraceWriter): Promise<RecorderStatus> {
  const folder = prepareFolder(tools, compiledPlugin(tools));
  const session = new QemuSession(folder, writer);
  let stop = (): void => {};
  try {
    await session.listen();
    const place = program.abi === "i386" ? ["-B", I386_BASE] : [];
    const [argv0, ...args] = program.argv;
    const plugin = `${join(folder, "plugin.so")},dir=${folder}`;
    const emulator = tools.emulators.get(program.abi) ?? "";
    const child = spawn(emulator, [...place, "-plugin", plugin, "-0", argv0, program.path, ...args], {
      stdio: "inherit",
    });
    // A program that nobody records any more shall not run on.
    stop = () => child.kill();
    process.once("exit", stop);
    return await session.run(child);
  } finally {
    stop();
    process.removeListener("exit", stop);
    session.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The kind of an item that is no run. */
const RECORD = 3;
const PACKETS_A_TURN = 32;
/** How often to see whether the last process has ended. */
const POLL_MILLIS = 5;
/** A ticket that has not come by then was drawn by a process that died. */
const PATIENCE_MILLIS = 1000;

/** What is known of a connection from its last packet. */
interface Connection {
  readonly pid: number;
  readonly tid: number;
  readonly ticket: number;
  readonly micros: number;
  /** Whether it said that it ends. */
  readonly hasLeft: boolean;
}

class QemuSession {
  private readonly folder: string;
  private readonly writer: TraceWriter;
  private readonly recording: Recording;
  private readonly order = new TicketOrder();
  private readonly files = new FileNames();
  /** Packets of threads whose fork was not reported yet. */
  private readonly early = new Map<number, Packet[]>();
  /** Early packets whose fork has been reported. */
  private readonly released: Packet[] = [];
  /** The last packet of each connection that is gone; if its process did not say that it ends, it was killed. */
  private ended: Connection[] = [];
  private readonly buffers = new PacketBuffers();
  /** Sizes of System V segments. */
  private readonly segments = new Map<number, number>();
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;
  private beganMicros: number | undefined;
  private pumping: Promise<void> | undefined;
  private lastProgress = Date.now();
  private failure: unknown;

  constructor(folder: string, writer: TraceWriter) {
    this.folder = folder;
    this.writer = writer;
    this.recording = new Recording(writer);
    this.server = createServer((socket) => this.connected(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      const path = join(this.folder, "socket");
      this.server.once("error", reject);
      this.server.listen(path, () => {
        chmodSync(path, 0o777);
        resolve();
      });
    });
  }

  /** Until the program and everything that it left running has ended. */
  async run(child: ChildProcess): Promise<RecorderStatus> {
    const watch = setInterval(() => this.overcomeGap(), PATIENCE_MILLIS / 4);
    try {
      const status = await new Promise<RecorderStatus>((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", (code, signal) => resolve({ code, signal }));
      });
      while (
        this.failure === undefined &&
        (this.sockets.size > 0 || this.order.held > 0 || this.pumping !== undefined)
      ) {
        this.pump();
        await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
      }
      if (this.failure !== undefined) throw this.failure;
      return status;
    } finally {
      clearInterval(watch);
    }
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }

  private connected(socket: Socket): void {
    let last: Connection | undefined;
    const parser = new PacketParser(this.buffers, (packet) => {
      const { pid, tid, ticket, micros } = packet;
      last = { pid, tid, ticket, micros, hasLeft: endsWithLeave(packet) };
      this.order.add(packet);
      this.pump();
    });
    this.sockets.add(socket);
    socket.on("data", (bytes) => {
      try {
        parser.feed(bytes);
      } catch (error) {
        this.fail(error);
      }
    });
    socket.on("error", (error) => this.fail(error));
    socket.on("close", () => {
      this.sockets.delete(socket);
      if (last !== undefined && !last.hasLeft) this.ended.push(last);
      this.pump();
    });
  }

  private fail(error: unknown): void {
    this.failure ??= error;
    this.close();
  }

  private pump(): void {
    this.pumping ??= this.drain()
      .catch((error) => this.fail(error))
      .finally(() => {
        this.pumping = undefined;
      });
  }

  /** Writes what is in order. The senders wait in the meantime: the sockets are read between turns only. */
  private async drain(): Promise<void> {
    // A turn of the loop first: `pumping` must be set before anything here ends.
    await undefined;
    for (;;) {
      let count = 0;
      for (; count < PACKETS_A_TURN; count++) {
        const packet = this.order.take();
        if (packet === undefined) break;
        this.accept(packet);
      }
      if (count > 0) this.lastProgress = Date.now();
      this.endKilled();
      if (count < PACKETS_A_TURN) break;
      for (const socket of this.sockets) socket.pause();
      await this.writer.settled();
      for (const socket of this.sockets) socket.resume();
    }
  }

  /** What a process that was killed had not sent yet is in its buffers. */
  private endKilled(): void {
    const due = this.ended.filter(({ ticket }) => this.order.hasPassed(ticket));
    if (due.length === 0) return;
    this.ended = this.ended.filter((connection) => !due.includes(connection));
    for (const { pid, tid, micros } of due) {
      if (!this.recording.knows(tid)) continue;
      for (const name of readdirSync(this.folder).filter((file) => file.startsWith(`left.${pid}.`))) {
        const packet = leftPacket(readFileSync(join(this.folder, name)), micros);
        if (packet !== undefined && this.recording.knows(packet.tid)) this.write(packet);
        rmSync(join(this.folder, name));
      }
      this.recording.killed(tid, micros - (this.beganMicros ?? 0));
    }
  }

  private overcomeGap(): void {
    if (this.order.held === 0 || Date.now() - this.lastProgress < PATIENCE_MILLIS) return;
    this.order.skip();
    this.pump();
  }

  private accept(packet: Packet): void {
    this.beganMicros ??= packet.micros;
    if (!this.recording.knows(packet.tid) && !startsProgram(packet)) {
      const waiting = this.early.get(packet.tid);
      if (waiting === undefined) this.early.set(packet.tid, [packet]);
      else waiting.push(packet);
      return;
    }
    this.write(packet);
    for (let next = this.released.shift(); next !== undefined; next = this.released.shift()) this.write(next);
  }

  private write(packet: Packet): void {
    const { words, tid } = packet;
    const { recording } = this;
    recording.turnTo(tid);
    for (let at = 0; at < words.length; ) {
      if ((words[at] & KIND_MASK) === RECORD) {
        const items = words[at] >>> 2;
        if (items === 0 || at + items * 2 > words.length)
          throw new Error(`a record of ${items} items does not fit its packet`);
        this.record(packet, words[at + 1], new RecordView(words, at, items));
        at += items * 2;
      } else {
        at = recording.runs(words, at);
      }
    }
    this.buffers.reuse(packet);
  }

  private record(packet: Packet, type: number, view: RecordView): void {
    const { recording } = this;
    const { tid, pid } = packet;
    const atMicros = packet.micros - (this.beganMicros ?? 0);
    if (type === START) {
      const { parent, stackAddress, maps, abi } = view.start();
      recording.start(pid, parent, imageOf(parseMaps(maps), abi, stackAddress), atMicros);
      return;
    }
    if (type !== CALL) return;
    const abi = recording.abiOf(tid);
    const call = view.call(abi);
    const spelling = shapeOf(abi, call.number)?.name;
    if (spelling === undefined) return;
    if (spelling === "exit_group" || spelling === "exit") {
      recording.exit(tid, call.args[0] & 0xff, spelling === "exit" ? "thread" : "process", atMicros);
    } else if (spelling === "clone" || spelling === "fork" || spelling === "vfork") {
      this.forked(spelling, call, atMicros);
    } else {
      const seen = normalized(spelling, abi, call);
      const shape = shapeNamed(seen.name);
      if (shape !== undefined) recording.call(shape, seen, this.fileOf(seen.name, call, seen.args), atMicros);
      if (seen.name === "shmget" && seen.result >= 0) this.segments.set(seen.result, seen.args[1]);
    }
  }

  private forked(spelling: string, call: CallRecord, atMicros: number | undefined): void {
    if (call.result <= 0) return;
    this.recording.fork(call.result, spelling === "clone" ? sharesMemory(call.args[0]) : "nothing", atMicros);
    const waiting = this.early.get(call.result);
    if (waiting === undefined) return;
    this.early.delete(call.result);
    this.released.push(...waiting);
  }

  private fileOf(name: string, call: CallRecord, args: readonly number[]): SeenFile | undefined {
    const { file } = call;
    if (name === "shmat") {
      return { path: `sysv:${args[0]}`, sizeBytes: file?.sizeBytes ?? this.segments.get(args[0]) ?? 0, position: -1 };
    }
    if (file === undefined) return undefined;
    return { ...file, path: this.files.name(file.path, file.device, file.inode) };
  }
}
