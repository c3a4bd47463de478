import { describe, expect, test } from "vitest";
import { TestKernel } from "../test-kernel.ts";
import { KM_PTE0, KM_PTE1, KM_USER0 } from "./atomic-types.ts";

const HIGH = 1024;
const world = (tunables = {}) => new TestKernel({ format: "pae", highmemFrom: HIGH, cpus: 2, tunables }).kernel;

describe("slots of kmap_atomic", () => {
  test("one live use of a type on a CPU; another CPU has its own", () => {
    const kernel = world();
    const { atomicMaps, tlbFlush } = kernel;
    atomicMaps.map(HIGH, KM_PTE0);
    atomicMaps.map(HIGH + 1, KM_PTE1);
    expect(() => atomicMaps.map(HIGH + 2, KM_PTE0)).toThrow("wants a slot that is live: PTE0 of CPU 0");
    tlbFlush.here = 1;
    atomicMaps.map(HIGH + 2, KM_PTE0);
    expect([atomicMaps.heldBy(0), atomicMaps.heldBy(1), atomicMaps.live]).toEqual([2, 1, 3]);
  });

  test("are given back for the frame that they were taken for, on the same CPU", () => {
    const { atomicMaps, tlbFlush } = world();
    atomicMaps.map(HIGH, KM_PTE0);
    expect(() => atomicMaps.unmap(HIGH + 1, KM_PTE0)).toThrow("gives back PTE0");
    tlbFlush.here = 1;
    expect(() => atomicMaps.unmap(HIGH, KM_PTE0)).toThrow("CPU 1 gives back PTE0");
    tlbFlush.here = 0;
    atomicMaps.unmap(HIGH, KM_PTE0);
    expect(atomicMaps.live).toBe(0);
  });

  test("drop a translation each time, or (RHEL3) only when the entry says something else", () => {
    const counted = (kmapInvalidates: "always" | "when-changed") => {
      const { atomicMaps, counters } = world({ kmapInvalidates });
      for (const frame of [HIGH, HIGH, HIGH, HIGH + 1]) {
        atomicMaps.map(frame, KM_USER0);
        atomicMaps.unmap(frame, KM_USER0);
      }
      return [counters.atomicMaps, counters.atomicInvalidations];
    };
    expect(counted("always")).toEqual([4, 4]);
    expect(counted("when-changed")).toEqual([4, 2]);
  });

  test("leave their entry behind, in the fixmap's table", () => {
    const { atomicMaps } = world();
    atomicMaps.map(HIGH + 7, KM_PTE0);
    atomicMaps.unmap(HIGH + 7, KM_PTE0);
    expect([...atomicMaps.disagreements()]).toEqual([]);
  });

  test("nobody sleeps while holding one", () => {
    const { atomicMaps } = world();
    atomicMaps.requireNone("reading a file");
    atomicMaps.map(HIGH, KM_PTE1);
    expect(() => atomicMaps.requireNone("reading a file")).toThrow("reading a file in atomic context: PTE1 of CPU 0");
  });
});

test("zeroing and copying user pages uses slots for frames of highmem only", () => {
  const { contents, counters } = world();
  contents.zero(5);
  contents.copy(5, 6);
  expect(counters.atomicMaps).toBe(0);
  contents.zero(HIGH);
  contents.copy(HIGH, HIGH + 1);
  contents.copy(HIGH, 6);
  expect(counters.atomicMaps).toBe(4);
});
