// Numbers for Prometheus. The hot path bumps a plain number; text is made only when somebody scrapes (exposition format 0.0.4).
// Label sets are bounded: past the limit a family counts under `other` labels rather than growing, and how often it did is a number too.

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  value: number;
}

export interface Histogram {
  /** Records one value in the family's base unit. */
  observe(value: number): void;
}

export interface FamilyOptions {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** Label sets of their own; 1 000 by default. */
  readonly most?: number;
}

/** Label values in the declared order, and the number. */
export type Observed = readonly [labels: readonly string[], value: number];

export interface Metrics {
  /** A counter family; the returned function finds or makes the child for these label values, in the declared order. */
  counter(family: FamilyOptions): (...values: string[]) => Counter;
  gauge(family: FamilyOptions & { readonly read?: () => number }): (...values: string[]) => Counter;
  histogram(family: FamilyOptions & { readonly buckets: readonly number[] }): (...values: string[]) => Histogram;
  /**
   * A family whose numbers are kept elsewhere and asked for when text is made; `reading` is the same object for all that are asked in one go. `isWhole`:
   * true of the process, whatever a further thread says.
   */
  observed(
    family: FamilyOptions & {
      readonly type: 'counter' | 'gauge';
      readonly read: (reading: object) => Iterable<Observed>;
      readonly isWhole?: boolean;
    },
  ): void;
  /** The names and help of every family, for the reference documentation. */
  families(): readonly { name: string; type: string; help: string; labels: readonly string[] }[];
  /** Every value there is, to be added to those of another thread. */
  samples(): Samples;
  /** Where the values of other threads come from: they are added to ours when text is made. */
  include(samples: () => readonly Samples[]): void;
  /** Every value there is, those of other threads added. */
  written(): readonly WrittenFamily[];
  /** The exposition text. */
  render(): string;
}

export interface WrittenFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** By what stands before each value in the text (name and labels). */
  readonly lines: Readonly<Record<string, number>>;
}

/** By family, what stands before each value in the text (name and labels) and the value. */
export type Samples = Readonly<
  Record<string, { readonly type: string; readonly help: string; readonly lines: Readonly<Record<string, number>> }>
>;

interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  readonly isWhole?: boolean;
  values(reading: object): [line: string, value: number][];
}

const defaultMost = 1_000;
/** Made when it is needed. */
const overflow = {
  name: 'postern_metrics_overflow_total',
  help: 'How often a family had no room for one more label set and counted it under other.',
  labels: ['metric'],
};

export function createMetrics(): Metrics {
  const families = new Map<string, Family>();
  let included: () => readonly Samples[] = () => [];
  const add = (family: Family): void => {
    if (families.has(family.name)) throw new TypeError(`metric ${family.name} is declared twice`);
    families.set(family.name, family);
  };
  let overflows: ((...values: string[]) => Counter) | undefined;
  const onOther = (name: string): void => {
    if (name === overflow.name) return;
    overflows ??= plain('counter', overflow);
    overflows(name).value++;
  };
  const plain = (
    type: 'counter' | 'gauge',
    { name, help, labels = [], most, read }: FamilyOptions & { read?: () => number },
  ) => {
    const { children, child } = childrenOf<Counter>({ name, labels, most, onOther }, () => ({ value: 0 }));
    if (labels.length === 0 && !read) child();
    const values = (): [string, number][] =>
      read ? [[name, read()]] : [...children].map(([key, { value }]) => [`${name}${key}`, value]);
    add({ name, type, help, labels, values });
    return child;
  };
  const written = (): WrittenFamily[] => {
    const added = sumOfSamples(included());
    const reading = {};
    const own = [...families.values()].map(({ name, type, help, values }) => {
      const lines = addLines(Object.fromEntries(values(reading)), added[name]?.lines ?? {});
      return { name, type, help, lines };
    });
    // A family that is declared when it is needed may have been needed in another thread only.
    const others = Object.entries(added).filter(([name]) => !families.has(name));
    return [...own, ...others.map(([name, family]) => ({ name, ...family }))];
  };
  return {
    counter: (family) => plain('counter', family),
    gauge: (family) => plain('gauge', family),
    histogram({ name, help, labels = [], most, buckets }) {
      const { children, child } = childrenOf({ name, labels, most, onOther }, () => createBuckets(buckets));
      const values = () => [...children].flatMap(([key, histogram]) => histogram.values(name, key));
      add({ name, type: 'histogram', help, labels, values });
      return child;
    },
    observed({ name, type, help, labels = [], most = defaultMost, read, isWhole = false }) {
      const other = labels.map(() => 'other');
      const values = (reading: object): [string, number][] => {
        const lines = new Map<string, number>();
        for (const [given, value] of read(reading)) {
          const isRoom = lines.size < most;
          if (!isRoom) onOther(name);
          const line = `${name}${labelText(labels, isRoom ? given : other)}`;
          lines.set(line, (lines.get(line) ?? 0) + value);
        }
        return [...lines];
      };
      add({ name, type, help, labels, isWhole, values });
    },
    families: () => [...families.values()].map(({ name, type, help, labels }) => ({ name, type, help, labels })),
    samples() {
      const reading = {};
      return Object.fromEntries(
        [...families.values()]
          .filter(({ isWhole }) => !isWhole)
          .map(({ name, type, help, values }) => [name, { type, help, lines: Object.fromEntries(values(reading)) }]),
      );
    },
    include(samples) {
      included = samples;
    },
    written,
    render: () => textOf(written()),
  };
}

/** The text of several that have the same families, with a label that says whose each value is. */
export function renderTogether(label: string, all: Iterable<readonly [name: string, metrics: Metrics]>): string {
  const families = new Map<string, WrittenFamily>();
  for (const [name, metrics] of all)
    for (const { lines, ...family } of metrics.written()) {
      const mine = Object.entries(lines).map(([line, value]) => [labelled(line, label, name), value] as const);
      const before = families.get(family.name)?.lines;
      families.set(family.name, { ...family, lines: { ...before, ...Object.fromEntries(mine) } });
    }
  return textOf([...families.values()]);
}

function labelled(line: string, label: string, value: string): string {
  const at = line.indexOf('{');
  const own = labelText([label], [value]).slice(0, -1);
  return at < 0 ? `${line}${own}}` : `${line.slice(0, at)}${own},${line.slice(at + 1)}`;
}

function textOf(families: readonly WrittenFamily[]): string {
  return families
    .map(({ name, type, help, lines }) => {
      const rows = Object.entries(lines).map(([line, value]) => `${line} ${value}\n`);
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${rows.join('')}`;
    })
    .join('');
}

export function sumOfSamples(all: readonly Samples[]): Samples {
  const sums: Record<string, Samples[string]> = {};
  for (const samples of all)
    for (const [name, { type, help, lines }] of Object.entries(samples))
      sums[name] = { type, help, lines: addLines(sums[name]?.lines ?? {}, lines) };
  return sums;
}

/** Without the gauges: what only ever rises stays true of a thread that is gone. */
export function countedOnly(samples: Samples): Samples {
  return Object.fromEntries(Object.entries(samples).filter(([, { type }]) => type !== 'gauge'));
}

function addLines(one: Readonly<Record<string, number>>, other: Readonly<Record<string, number>>) {
  const sum: Record<string, number> = { ...one };
  for (const [line, value] of Object.entries(other)) sum[line] = (sum[line] ?? 0) + value;
  return sum;
}

function childrenOf<T>(
  o: { name: string; labels: readonly string[]; most: number | undefined; onOther: (name: string) => void },
  make: () => T,
) {
  const { labels, most = defaultMost } = o;
  const children = new Map<string, T>();
  const child = (...values: string[]): T => {
    let key = labelText(labels, values);
    let found = children.get(key);
    if (found) return found;
    if (children.size >= most) {
      o.onOther(o.name);
      key = labelText(
        labels,
        labels.map(() => 'other'),
      );
      found = children.get(key);
      if (found) return found;
    }
    found = make();
    children.set(key, found);
    return found;
  };
  return { children, child };
}

function labelText(labels: readonly string[], values: readonly string[]): string {
  if (labels.length !== values.length)
    throw new TypeError(`expected ${labels.length} label values, got ${values.length}`);
  if (labels.length === 0) return '';
  const quoted = (value: string): string =>
    value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
  return `{${labels.map((label, index) => `${label}="${quoted(values[index]!)}"`).join(',')}}`;
}

function createBuckets(bounds: readonly number[]) {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  let sum = 0;
  return {
    observe(value: number): void {
      let index = 0;
      while (index < bounds.length && value > bounds[index]!) index++;
      counts[index]!++;
      sum += value;
    },
    values(name: string, key: string): [line: string, value: number][] {
      const label = (le: string): string => (key ? `${key.slice(0, -1)},le="${le}"}` : `{le="${le}"}`);
      let below = 0;
      const rows = counts.map((count, index): [string, number] => {
        below += count;
        return [`${name}_bucket${label(index < bounds.length ? String(bounds[index]) : '+Inf')}`, below];
      });
      return [...rows, [`${name}_sum${key}`, sum], [`${name}_count${key}`, below]];
    },
  };
}
