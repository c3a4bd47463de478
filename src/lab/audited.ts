/** Audits a machine while it replays: every law, after every so many operations. */
import { audit, type Violation } from "../check/audit/audit.ts";
import type { Machine } from "../machine.ts";
import type { Operation, ReplayObserver } from "./replay.ts";
import { operationName } from "./step.ts";

/** Laws that were broken after one operation. */
export interface Finding {
  readonly operation: number;
  readonly record: number;
  readonly name: string;
  readonly violations: readonly Violation[];
}

export class AuditedReplay implements ReplayObserver {
  audits = 0;
  operations = 0;
  /** The first finding: what comes after a broken law says little. */
  finding: Finding | undefined;
  private readonly machine: Machine;
  private readonly every: number;

  constructor(machine: Machine, every: number) {
    this.machine = machine;
    this.every = every;
  }

  before(): void {}

  after(operation: Operation): void {
    this.operations++;
    if (this.finding !== undefined || operation.number % this.every !== 0) return;
    this.audits++;
    const violations = audit(this.machine);
    if (violations.length === 0) return;
    const { number, record } = operation;
    this.finding = { operation: number, record, name: operationName(operation), violations };
  }
}
