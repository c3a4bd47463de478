/** Interrupts from one CPU to another. Whoever sends one and needs it done waits until the handler has said so. */
export interface Interrupts {
  /** `handle` runs on `cpu` as soon as that CPU takes interrupts. */
  send(cpu: number, what: string, handle: () => void): void;
}
