// Numbers for Prometheus. The hot path bumps a plain number; text is made only when somebody scrapes (exposition format 0.0.4).
// Label sets are bounded: past the limit a family counts under `other` labels rather than growing.

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
}

export interface Metrics {
  /** A counter family; the returned function finds or makes the child for these label values, in the declared order. */
  counter(family: FamilyOptions): (...values: string[]) => Counter;
  gauge(family: FamilyOptions & { readonly read?: () => number }): (...values: string[]) => Counter;
  histogram(family: FamilyOptions & { readonly buckets: readonly number[] }): (...values: string[]) => Histogram;
  /** The names and help of every family, for the reference documentation. */
  families(): readonly { name: string; type: string; help: string; labels: readonly string[] }[];
  /** The exposition text. */
  render(): string;
}

interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  lines(): string[];
}

const mostChildren = 1_000;

export function createMetrics(): Metrics {
  const families = new Map<string, Family>();
  const add = (family: Family): void => {
    if (families.has(family.name)) throw new TypeError(`metric ${family.name} is declared twice`);
    families.set(family.name, family);
  };
  const plain = (
    type: 'counter' | 'gauge',
    { name, help, labels = [], read }: FamilyOptions & { read?: () => number },
  ) => {
    const { children, child } = childrenOf<Counter>(labels, () => ({ value: 0 }));
    if (labels.length === 0 && !read) child();
    const lines = (): string[] =>
      read ? [`${name} ${read()}`] : [...children].map(([key, { value }]) => `${name}${key} ${value}`);
    add({ name, type, help, labels, lines });
    return child;
  };
  return {
    counter: (family) => plain('counter', family),
    gauge: (family) => plain('gauge', family),
    histogram({ name, help, labels = [], buckets }) {
      const { children, child } = childrenOf(labels, () => createBuckets(buckets));
      const lines = (): string[] => [...children].flatMap(([key, histogram]) => histogram.lines(name, key));
      add({ name, type: 'histogram', help, labels, lines });
      return child;
    },
    families: () => [...families.values()].map(({ name, type, help, labels }) => ({ name, type, help, labels })),
    render: () =>
      [...families.values()]
        .map((family) => {
          const head = `# HELP ${family.name} ${family.help}\n# TYPE ${family.name} ${family.type}\n`;
          return (
            head +
            family
              .lines()
              .map((line) => `${line}\n`)
              .join('')
          );
        })
        .join(''),
  };
}

function childrenOf<T>(labels: readonly string[], make: () => T) {
  const children = new Map<string, T>();
  const child = (...values: string[]): T => {
    let key = labelText(labels, values);
    let found = children.get(key);
    if (found) return found;
    if (children.size >= mostChildren) {
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
  let count = 0;
  return {
    observe(value: number): void {
      let index = 0;
      while (index < bounds.length && value > bounds[index]!) index++;
      counts[index]!++;
      sum += value;
      count++;
    },
    lines(name: string, key: string): string[] {
      const label = (le: string): string => (key ? `${key.slice(0, -1)},le="${le}"}` : `{le="${le}"}`);
      let below = 0;
      const rows = bounds.map((bound, index) => {
        below += counts[index]!;
        return `${name}_bucket${label(String(bound))} ${below}`;
      });
      return [
        ...rows,
        `${name}_bucket${label('+Inf')} ${count}`,
        `${name}_sum${key} ${sum}`,
        `${name}_count${key} ${count}`,
      ];
    },
  };
}
