/** `bigmem design [AXIS]`: the design space, or one axis of it. */
import { Command } from "commander";
import { axisNames, describeAxis, designSpace, requireAxis } from "../../design.ts";
import { allRules } from "../../design-rules.ts";
import { examples, print } from "../text.ts";

export function designCommand(): Command {
  return new Command("design")
    .description("list the design space: each axis is a question, each option one way a kernel answered it")
    .argument("[axis]", "one axis, such as reverseMap")
    .option("--json", "as JSON")
    .addHelpText("after", examples("bigmem design", "bigmem design reverseMap"))
    .action((axis: string | undefined, { json }: { json?: true }) => {
      if (json === true) print(JSON.stringify(asJson(axis), null, 2));
      else if (axis !== undefined) print(describeAxis(axis));
      else print(wholeSpace());
    });
}

function wholeSpace(): string {
  const axes = axisNames.map(describeAxis).join("\n\n");
  const rules = allRules.map(({ when, paging, reason }) => `  ${cell(when)}${withPaging(paging)}: ${reason}`);
  const illegal = rules.length === 0 ? "Every combination of options is legal." : `Illegal:\n${rules.join("\n")}`;
  return `${axes}\n\n${illegal}\nChoose with --set AXIS=OPTION, compare with --vary AXIS=OPTION,OPTION,...`;
}

const withPaging = (paging: string): string => (paging === "" ? "" : ` with ${paging} paging`);

const cell = (when: object): string =>
  Object.entries(when)
    .map(([axis, option]) => `${axis}=${option}`)
    .join(" with ");

function asJson(axis: string | undefined): unknown {
  if (axis === undefined) return designSpace;
  requireAxis(axis);
  return { [axis]: designSpace[axis] };
}
