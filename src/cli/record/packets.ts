/**
 * What the QEMU plugin sends, taken apart: packets out of a stream of bytes, packets of many streams put in the order of
 * their tickets, records out of a packet. The plugin's source draws the layout.
 */
import type { Abi } from "../../lab/trace/format.ts";
import type { SeenCall } from "./calls.ts";

export interface Packet {
  readonly pid: number;
  readonly tid: number;
  readonly ticket: number;
  readonly micros: number;
  /** Two words an item. */
  readonly words: Uint32Array;
}

export const HEAD_BYTES = 32;
/** A packet holds a thread's buffer or one process's start. */
const MAX_PACKET_BYTES = 1 << 24;

export const START = 1;
export const CALL = 2;
export const LEAVE = 3;

/** Buffers of packets that have been written, for those that come: new memory costs more than what is done to it. */
export class PacketBuffers {
  private readonly free: ArrayBuffer[] = [];

  body(bytes: number): Uint8Array {
    const buffer = bytes <= USUAL_BYTES ? (this.free.pop() ?? new ArrayBuffer(USUAL_BYTES)) : new ArrayBuffer(bytes);
    return new Uint8Array(buffer, 0, bytes);
  }

  /** Nobody looks at the packet's words any more. */
  reuse({ words }: Packet): void {
    const { buffer } = words;
    if (buffer.byteLength === USUAL_BYTES && this.free.length < MOST_FREE) this.free.push(buffer as ArrayBuffer);
  }
}

/** What a thread's full buffer takes. */
const USUAL_BYTES = 1 << 17;
const MOST_FREE = 256;

/** Cuts one stream into packets. */
export class PacketParser {
  private readonly deliver: (packet: Packet) => void;
  private readonly buffers: PacketBuffers;
  private readonly head = new Uint8Array(HEAD_BYTES);
  private readonly view = new DataView(this.head.buffer);
  private headFilled = 0;
  private body: Uint8Array | undefined;
  private bodyFilled = 0;

  constructor(buffers: PacketBuffers, deliver: (packet: Packet) => void) {
    this.buffers = buffers;
    this.deliver = deliver;
  }

  feed(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.body === undefined) {
        const part = bytes.subarray(at, at + HEAD_BYTES - this.headFilled);
        this.head.set(part, this.headFilled);
        this.headFilled += part.length;
        at += part.length;
        if (this.headFilled === HEAD_BYTES) this.body = this.buffers.body(this.bodyBytes());
      } else {
        const part = bytes.subarray(at, at + this.body.length - this.bodyFilled);
        this.body.set(part, this.bodyFilled);
        this.bodyFilled += part.length;
        at += part.length;
      }
      if (this.body !== undefined && this.bodyFilled === this.body.length) this.finish(this.body);
    }
  }

  private bodyBytes(): number {
    const bytes = this.view.getUint32(0, true);
    if (bytes % 8 !== 0 || bytes > MAX_PACKET_BYTES) throw new Error(`the plugin sent a packet of ${bytes} bytes`);
    return bytes;
  }

  private finish(body: Uint8Array): void {
    const { view } = this;
    this.body = undefined;
    this.headFilled = this.bodyFilled = 0;
    this.deliver({
      pid: view.getUint32(4, true),
      tid: view.getUint32(8, true),
      ticket: Number(view.getBigUint64(16, true)),
      micros: Number(view.getBigUint64(24, true)),
      words: new Uint32Array(body.buffer, 0, body.length / 4),
    });
  }
}

/**
 * Gives packets in the order of their tickets. Every ticket is drawn for a packet that is sent at once, so a gap closes
 * by itself, unless its process was killed between the two: then `skip` goes on without it.
 */
export class TicketOrder {
  private next = 0;
  private readonly waiting = new Map<number, Packet>();
  private readonly late: Packet[] = [];

  get held(): number {
    return this.waiting.size;
  }

  add(packet: Packet): void {
    // One that was passed over and comes after all is better late than lost.
    if (packet.ticket < this.next) this.late.push(packet);
    else this.waiting.set(packet.ticket, packet);
  }

  /** The next packet in order; `undefined` until it has come. */
  take(): Packet | undefined {
    const late = this.late.shift();
    if (late !== undefined) return late;
    const packet = this.waiting.get(this.next);
    if (packet === undefined) return undefined;
    this.waiting.delete(this.next++);
    return packet;
  }

  hasPassed(ticket: number): boolean {
    return ticket < this.next;
  }

  /** Passes over the tickets that have not come. */
  skip(): void {
    if (this.waiting.size > 0) this.next = Math.min(...this.waiting.keys());
  }
}

/** The first packet of a program begins with its start. */
export const startsProgram = ({ words }: Packet): boolean => (words[0] & 3) === 3 && words[1] === START;

/** The last item of a connection that was given up on purpose. */
export const endsWithLeave = ({ words }: Packet): boolean =>
  (words[words.length - 2] & 3) === 3 && words[words.length - 1] === LEAVE;

/** Where a thread's buffer file holds its items, and how many it has. */
const LEFT_ITEMS_AT = 4096;

/** What a thread that was killed had not sent, from its buffer file; nothing if it had sent all. */
export function leftPacket(file: Uint8Array, micros: number): Packet | undefined {
  if (file.length < LEFT_ITEMS_AT) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const items = Math.min(view.getUint32(8, true), Math.floor((file.length - LEFT_ITEMS_AT) / 8));
  if (items === 0) return undefined;
  const body = new Uint8Array(items * 8);
  body.set(file.subarray(LEFT_ITEMS_AT, LEFT_ITEMS_AT + body.length));
  const words = new Uint32Array(body.buffer);
  return { pid: view.getUint32(0, true), tid: view.getUint32(4, true), ticket: 0, micros, words };
}

export interface StartRecord {
  readonly abi: Abi;
  readonly parent: number;
  readonly stackAddress: number;
  readonly maps: string;
}

export interface CallRecord {
  readonly number: number;
  readonly args: readonly number[];
  readonly result: number;
  readonly quoted: DataView;
  readonly file: FileRecord | undefined;
}

export interface FileRecord {
  readonly path: string;
  readonly sizeBytes: number;
  readonly device: number;
  readonly inode: number;
  readonly position: number;
}

const HIGH = 2 ** 32;

/** A record's items, from its head on. */
export class RecordView {
  private readonly view: DataView;
  private readonly bytes: Uint8Array;

  constructor(words: Uint32Array, at: number, items: number) {
    this.bytes = new Uint8Array(words.buffer, words.byteOffset + at * 4, items * 8);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  }

  start(): StartRecord {
    return {
      parent: this.unsigned(1),
      stackAddress: this.unsigned(2),
      abi: this.unsigned(3) === 1 ? "x86-64" : "i386",
      maps: this.text(5 * 8, this.unsigned(4)),
    };
  }

  call(abi: Abi): CallRecord {
    const pathBytes = this.view.getUint32(CALL_HEAD - 8, true);
    const quoteBytes = this.view.getUint32(CALL_HEAD - 4, true);
    const quoteAt = CALL_HEAD + Math.ceil(pathBytes / 8) * 8;
    const result = this.signed(8);
    return {
      number: this.unsigned(1),
      args: [2, 3, 4, 5, 6, 7].map((item) => (abi === "i386" ? this.unsigned(item) : this.signed(item))),
      // A 32-bit address comes with its sign extended; only the last page of addresses are errors.
      result: abi === "i386" && result < -4095 ? result + HIGH : result,
      quoted: new DataView(this.bytes.buffer, this.bytes.byteOffset + quoteAt, quoteBytes),
      file:
        pathBytes === 0
          ? undefined
          : {
              path: this.text(CALL_HEAD, pathBytes),
              sizeBytes: this.unsigned(9),
              device: this.unsigned(10),
              inode: this.unsigned(11),
              position: this.signed(12),
            },
    };
  }

  private unsigned(item: number): number {
    return this.view.getUint32(item * 8 + 4, true) * HIGH + this.view.getUint32(item * 8, true);
  }

  private signed(item: number): number {
    return Number(this.view.getBigInt64(item * 8, true));
  }

  private text(at: number, bytes: number): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + at, bytes).toString("utf8");
  }
}

/** Of the plugin's `struct call`. */
const CALL_HEAD = 14 * 8;

/** A call as the table knows it: one name and one order of arguments for both ABIs. */
export function normalized(name: string, abi: Abi, record: CallRecord): SeenCall {
  const { args, result, quoted } = record;
  const word = (index: number): number => (index * 4 + 4 <= quoted.byteLength ? quoted.getUint32(index * 4, true) : 0);
  const seen = (newName: string, newArgs: readonly number[], newResult = result): SeenCall => ({
    name: newName,
    args: newArgs,
    result: newResult,
    quoted,
  });
  switch (name) {
    case "mmap":
      return seen(name, withDescriptor(args));
    case "mmap2":
      return seen("mmap", withDescriptor([...args.slice(0, 5), args[5] * 4096]));
    case "old_mmap":
      return seen("mmap", withDescriptor([0, 1, 2, 3, 4, 5].map(word)));
    case "pread64":
    case "pwrite64":
    case "preadv":
    case "pwritev":
      // i386 passes the offset as two words.
      return abi === "i386" ? seen(name, [args[0], args[1], args[2], args[4] * HIGH + args[3]]) : seen(name, args);
    case "ipc":
      return systemV(args, word, seen);
    case "socketcall":
      return socketCall(args[0], [0, 1, 2, 3, 4, 5].map(word), seen);
    default:
      return seen(name, args);
  }
}

/** The descriptor of mmap is an int: -1 whatever the upper half of its register. */
const withDescriptor = (args: readonly number[]): number[] => args.map((value, i) => (i === 4 ? value | 0 : value));

type Seen = (name: string, args: readonly number[], result?: number) => SeenCall;

function systemV(args: readonly number[], word: (index: number) => number, seen: Seen): SeenCall {
  const [operation, first, second, third, pointer] = args;
  switch (operation % 65536) {
    case 21:
      return seen("shmat", [first, pointer, second], word(0));
    case 22:
      return seen("shmdt", [pointer]);
    case 23:
      return seen("shmget", [first, second, third]);
    default:
      return seen("ipc", args);
  }
}

function socketCall(operation: number, args: readonly number[], seen: Seen): SeenCall {
  switch (operation) {
    case 9:
    case 11:
      return seen("sendto", args);
    case 10:
    case 12:
      return seen("recvfrom", args);
    default:
      return seen("socketcall", args);
  }
}
