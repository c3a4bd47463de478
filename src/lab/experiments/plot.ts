/** Rows of an experiment as a picture: an SVG with a line for each series, axes labelled in words with units. */
import type { Plot, Row } from "./experiment.ts";

const WIDTH = 800;
const HEIGHT = 480;
const LEFT = 80;
const RIGHT = 210;
const TOP = 30;
const BOTTOM = 60;
const TICKS = 5;
const colours = ["#1b6ca8", "#c8553d", "#2a9d5c", "#8a4fbf", "#b58900", "#555555", "#d6336c", "#0b7285"] as const;

interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

export function plotSvg(title: string, rows: readonly Row[], plot: Plot): string {
  const series = seriesOf(rows, plot);
  const points = series.flatMap((each) => each.points);
  const mostX = niceCeiling(Math.max(1, ...points.map(([x]) => x)));
  const mostY = niceCeiling(Math.max(1, ...points.map(([, y]) => y)));
  const place = ([x, y]: readonly [number, number]): string => `${round(atX(x, mostX))},${round(atY(y, mostY))}`;
  const lines = series.map(({ name, points: own }, at) => {
    const colour = colours[at % colours.length]!;
    const legend = TOP + 10 + at * 20;
    const text = `<text x="${WIDTH - RIGHT + 35}" y="${legend + 4}">${escapeXml(name)}</text>`;
    const key = `<line x1="${WIDTH - RIGHT + 10}" x2="${WIDTH - RIGHT + 30}" y1="${legend}" y2="${legend}" stroke="${colour}" stroke-width="2"/>`;
    const dots = own.map((point) => {
      const [x, y] = place(point).split(",");
      return `<circle cx="${x}" cy="${y}" r="2" fill="${colour}"/>`;
    });
    return `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${own.map(place).join(" ")}"/>${dots.join("")}${key}${text}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${LEFT}" y="18" font-size="14">${escapeXml(title)}</text>`,
    ...axis(mostX, mostY),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 15}" text-anchor="middle">${escapeXml(plot.xLabel)}</text>`,
    `<text transform="translate(18 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(plot.yLabel)}</text>`,
    ...lines,
    "</svg>",
    "",
  ].join("\n");
}

function seriesOf(rows: readonly Row[], { x, y, line, yUnit }: Plot): Series[] {
  const found = new Map<string, [number, number][]>();
  for (const row of rows) {
    const name = line.map((column) => String(row[column])).join(", ");
    const points = found.get(name) ?? [];
    points.push([Number(row[x]), Number(row[y]) / yUnit]);
    found.set(name, points);
  }
  return [...found].map(([name, points]) => ({ name, points: points.sort((one, other) => one[0] - other[0]) }));
}

function axis(mostX: number, mostY: number): string[] {
  const bottom = HEIGHT - BOTTOM;
  const end = WIDTH - RIGHT;
  const parts = [
    `<line x1="${LEFT}" x2="${end}" y1="${bottom}" y2="${bottom}" stroke="black"/>`,
    `<line x1="${LEFT}" x2="${LEFT}" y1="${TOP}" y2="${bottom}" stroke="black"/>`,
  ];
  for (let tick = 0; tick <= TICKS; tick++) {
    const x = (mostX * tick) / TICKS;
    const y = (mostY * tick) / TICKS;
    parts.push(`<text x="${round(atX(x, mostX))}" y="${bottom + 18}" text-anchor="middle">${number(x)}</text>`);
    parts.push(`<text x="${LEFT - 8}" y="${round(atY(y, mostY) + 4)}" text-anchor="end">${number(y)}</text>`);
    parts.push(
      `<line x1="${LEFT}" x2="${end}" y1="${round(atY(y, mostY))}" y2="${round(atY(y, mostY))}" stroke="#dddddd"/>`,
    );
  }
  return parts;
}

const atX = (x: number, most: number): number => LEFT + (x / most) * (WIDTH - LEFT - RIGHT);
const atY = (y: number, most: number): number => HEIGHT - BOTTOM - (y / most) * (HEIGHT - TOP - BOTTOM);
const round = (value: number): number => Math.round(value * 10) / 10;
const number = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : String(round(value));

/** The next of 1, 2, 2.5, 5 and 10 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? value;
}

const escapeXml = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
