/** Progress for a person at a terminal: what is done, of how much, rate, time left. Nothing at all in a pipe. */

const PERIOD_MILLIS = 200;

export class Progress {
  private readonly what: string;
  private readonly total: number;
  private readonly visible: boolean;
  private readonly began = performance.now();
  private shownAt = 0;

  /** `total` in the same units as `update`; 0 when unknown. */
  constructor(what: string, total: number, quiet: boolean) {
    this.what = what;
    this.total = total;
    this.visible = !quiet && process.stderr.isTTY === true;
  }

  update(done: number): void {
    if (!this.visible) return;
    const now = performance.now();
    if (now - this.shownAt < PERIOD_MILLIS) return;
    this.shownAt = now;
    const seconds = (now - this.began) / 1000;
    const rate = done / Math.max(seconds, 1e-3);
    const share = this.total > 0 ? ` of ${count(this.total)} (${Math.floor((100 * done) / this.total)} %)` : "";
    const left = this.total > 0 && rate > 0 ? `, ${Math.ceil((this.total - done) / rate)} s left` : "";
    process.stderr.write(`\r\x1b[K${this.what}: ${count(done)}${share}, ${count(rate)}/s${left}`);
  }

  end(): void {
    if (this.visible && this.shownAt > 0) process.stderr.write("\r\x1b[K");
  }
}

/** One line that says what is being done, at a terminal; it goes when that is over. */
export class StatusLine {
  private readonly name: string;
  private readonly visible = process.stderr.isTTY === true;

  constructor(name: string) {
    this.name = name;
  }

  show(what: string): void {
    if (this.visible) process.stderr.write(`\r\x1b[K${this.name}: ${what}`);
  }

  end(): void {
    if (this.visible) process.stderr.write("\r\x1b[K");
  }
}

function count(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toPrecision(3)} G`;
  if (value >= 1e6) return `${(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e4) return `${(value / 1e3).toPrecision(3)} k`;
  return `${Math.round(value)}`;
}
