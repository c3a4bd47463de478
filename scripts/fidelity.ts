/**
 * Measures programs on the Linux underneath, predicts the same from their recordings, and writes both to
 * samples/measured.json: the samples, and four larger programs that are recorded on demand.
 *
 *     node scripts/fidelity.ts FOLDER
 *
 * Inputs and recordings go to FOLDER; a recording that is there already is used again. Needs qemu-user, a C compiler, sort,
 * gzip, ls, sqlite3 and python3; takes some minutes.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Rng } from "../src/base/rng.ts";
import { kernelName, measure } from "../src/cli/fidelity/measure.ts";
import { traceInput } from "../src/cli/sources.ts";
import type { Cause } from "../src/lab/fidelity/causes.ts";
import { type MeasuredFile, type MeasuredProgram, measuredFileSchema } from "../src/lab/fidelity/measured.ts";
import { predict } from "../src/lab/fidelity/predict.ts";
import { specOf } from "../src/presets.ts";

const root = resolve(import.meta.dirname, "..");
const folder = resolve(process.argv[2] ?? "/tmp/bigmem-fidelity");
const spec = specOf("amd64-8g", "linux-6.18");
/** The environment of recordings and measurements: both programs shall find the same. */
const plain = { PATH: "/usr/bin:/bin", LC_ALL: "C" };

interface Subject {
  readonly trace: string;
  readonly command: readonly string[];
  /** Where it runs. */
  readonly where: string;
  /** Where its recording is; made there if it is missing. */
  readonly recording: string;
  readonly env: NodeJS.ProcessEnv;
  readonly made?: readonly string[];
  readonly causes: readonly Cause[];
}

const onDemand = (name: string, command: string[], made: string[], causes: Cause[]): Subject => ({
  trace: `${name}.bmt`,
  command,
  where: folder,
  recording: join(folder, `${name}.bmt`),
  env: plain,
  made,
  causes,
});
const sample = (name: string, command: string[], where: string, env: NodeJS.ProcessEnv, causes: Cause[]): Subject => ({
  trace: `${name}.bmt`,
  command,
  where,
  recording: join(root, "samples", `${name}.bmt`),
  env: { ...process.env, ...env },
  causes,
});

const subjects: Subject[] = [
  onDemand(
    "sort8",
    ["sort", "-S", "64M", "-o", "sorted.txt", "big.txt"],
    ["big.txt: 8 MiB in lines of 69 hexadecimal digits"],
    ["cpu", "vdso"],
  ),
  onDemand("gzip8", ["gzip", "-k", "-f", "big.txt"], ["the same big.txt"], ["cpu", "vdso"]),
  onDemand("ls", ["ls", "-l", "/usr/bin"], [], ["cpu", "vdso"]),
  onDemand(
    "sqlite",
    ["sqlite3", ":memory:", ".read insert.sql"],
    ["insert.sql: 100,000 rows into an indexed table in memory"],
    ["cpu", "vdso"],
  ),
  sample("sort", ["sort", "-n", "-o", "sorted.txt", "numbers.txt"], folder, { LC_ALL: "C" }, [
    "cpu",
    "vdso",
    "environment",
  ]),
  sample("python-fork", ["/usr/bin/python3", "-I", "-S", "samples/python-fork.py"], root, {}, [
    "cpu",
    "vdso",
    "hashing",
  ]),
];

const NUMBERS = "BEGIN { srand(1); for (i = 0; i < 12000; i++) print int(rand() * 1e9) }";
const SQL = `CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value REAL);
CREATE INDEX i ON t(name);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100000)
  INSERT INTO t SELECT i, 'row number ' || (i*7919%100000), i*0.5 FROM n;
COMMIT;
SELECT count(*), sum(value) FROM t;
`;

mkdirSync(folder, { recursive: true });
makeInputs();
const programs: MeasuredProgram[] = [];
for (const subject of subjects) programs.push(await measured(subject));
programs.push({
  trace: "postgres-shared.bmt",
  command: "postgres -D data, and three clients at once",
  processes: [],
  unmeasured: "servers and clients run at once for minutes: time decides which process does what",
  causes: [],
});
const file: MeasuredFile = {
  schema: "bigmem.measured/1",
  kernel: kernelName(),
  how: "node scripts/fidelity.ts FOLDER",
  programs,
};
writeFileSync(join(root, "samples", "measured.json"), `${JSON.stringify(measuredFileSchema.parse(file), null, 2)}\n`);

function makeInputs(): void {
  if (existsSync(join(folder, "big.txt"))) return;
  const rng = new Rng(1);
  const line = (): string => Array.from({ length: 69 }, () => rng.below(16).toString(16)).join("");
  writeFileSync(join(folder, "big.txt"), `${Array.from({ length: (8 << 20) / 70 }, line).join("\n")}\n`);
  writeFileSync(join(folder, "insert.sql"), SQL);
  writeFileSync(join(folder, "numbers.txt"), execFileSync("awk", [NUMBERS]));
}

async function measured({ trace, command, where, recording, env, made, causes }: Subject): Promise<MeasuredProgram> {
  if (!existsSync(recording)) {
    const bigmem = [join(root, "bin", "bigmem.js"), "record", "--recorder", "qemu", "-o", recording, "--", ...command];
    execFileSync(process.execPath, bigmem, { cwd: where, env, stdio: ["ignore", "ignore", "inherit"] });
  }
  const processes = measure(command, { where, env });
  const { processes: predicted } = await predict(traceInput(recording), spec, { version: "" });
  const [real, model] = [processes, predicted].map((all) => all.reduce((sum, { minorFaults }) => sum + minorFaults, 0));
  console.log(`${trace}: ${real} minor faults, ${model} predicted`);
  return {
    trace,
    command: command.join(" "),
    ...(made === undefined ? {} : { made: [...made] }),
    processes,
    predicted: [...predicted],
    causes: [...causes],
  };
}
