/**
 * Runs many programs, one after the other, on one machine: what a program leaves behind is removed, and that nothing is
 * left after that is checked. A new machine now and then keeps what a run remembers bounded.
 */
import { bug } from "../base/errors.ts";
import { Machine } from "../machine.ts";
import { OWNER_KMAP, OWNER_PAGE_TABLES, OWNER_STACKS } from "../mm/zone.ts";
import type { MachineSpec } from "../presets.ts";
import type { Outcome } from "./compare-outcomes.ts";
import type { Program } from "./program.ts";
import { type Observer, ProgramRun } from "./run-program.ts";

/** Programs on one machine. */
const PROGRAMS_PER_MACHINE = 256;

export class ProgramRunner {
  private readonly spec: MachineSpec;
  private current: Machine;
  private programs = 0;
  private freeAtStart: number;

  constructor(spec: MachineSpec) {
    this.spec = spec;
    this.current = new Machine(spec);
    this.freeAtStart = this.unused;
  }

  /** The machine that the next program runs on. */
  get machine(): Machine {
    return this.current;
  }

  run(program: Program, observe?: Observer): Outcome {
    if (this.programs++ === PROGRAMS_PER_MACHINE) this.renew();
    let outcome: Outcome;
    try {
      const run = new ProgramRun(this.current, program);
      outcome = run.run(observe);
      run.cleanUp();
    } catch (error) {
      // Whatever state it is in, nobody else shall see it.
      this.renew();
      throw error;
    }
    const leaked = this.freeAtStart - this.unused;
    if (leaked !== 0) bug(`program ${program.name} leaves ${leaked} frames in use`);
    return outcome;
  }

  /** Frames that nobody uses, idle page tables and what is left of soft pages that are cut up among them; what a CPU keeps in hand for its next mapping is in use. */
  private get unused(): number {
    const { allocator, tables, reverseMap, transparent } = this.current.kernel;
    reverseMap.reserve();
    const idleBlocks = [OWNER_PAGE_TABLES, OWNER_STACKS, OWNER_KMAP].map((owner) => allocator.idleBlocksOf(owner));
    return idleBlocks.reduce(
      (sum, frames) => sum + frames,
      allocator.unusedPages + tables.idle + transparent.pages.idleZeros,
    );
  }

  private renew(): void {
    this.current = new Machine(this.spec);
    this.programs = 1;
    this.freeAtStart = this.unused;
  }
}
