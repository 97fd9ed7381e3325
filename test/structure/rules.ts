// The rules of the structure as functions of the sources: each gives the places where it is broken. Kept apart from the tests so that
// the tests can also show each rule a file that breaks it.
import { folderOf, type Import, layers, placesOf, type Source } from './sources.ts';

export interface Rule {
  readonly name: string;
  /** Said with every breach. */
  readonly why: string;
  /** Places where the rule is broken, as `path:line what`. */
  readonly breaches: (sources: readonly Source[]) => string[];
}

const rankOf = (folder: string): number => layers.findIndex((layer) => layer.includes(folder));
const isProduct = ({ path }: Source): boolean => folderOf(path) !== undefined;
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

function eachImport(
  sources: readonly Source[],
  breach: (source: Source, found: Import) => string | undefined,
): string[] {
  return sources.flatMap((source) =>
    source.imports.flatMap((found) => {
      const what = breach(source, found);
      return what === undefined ? [] : [`${source.path}:${found.line} ${what}`];
    }),
  );
}

/** A rule that some words appear in no product code but the named files (or folders, with a slash at the end). */
function onlyIn(o: { name: string; why: string; pattern: RegExp; except: readonly string[] }): Rule {
  const allowed = (path: string): boolean =>
    o.except.some((each) => (each.endsWith('/') ? path.startsWith(each) : path === each));
  return {
    name: o.name,
    why: o.why,
    breaches: (sources) =>
      sources
        .filter((source) => isProduct(source) && !allowed(source.path))
        .flatMap((source) => placesOf(source, o.pattern)),
  };
}

const singleImporters: Readonly<Record<string, readonly string[]>> = {
  casbin: ['policy/casbin.ts'],
  '@peculiar/x509': ['ca/x509.ts'],
  'reflect-metadata': ['ca/x509.ts'],
  'node-forge': ['ca/pkcs12.ts'],
  jose: ['ca/token.ts', 'policy/token.ts'],
  re2js: ['routing/regex.ts'],
  fastify: ['control/'],
  yaml: ['config/', 'cli/output.ts', 'cli/context.ts', 'cli/commands/get.ts'],
  commander: ['cli/'],
};

export const rules: readonly Rule[] = [
  {
    name: 'layers',
    why: 'a folder imports only lower layers, so that each can be understood, tested and replaced without those above; proxy and control meet only in wire',
    breaches: (sources) =>
      eachImport(sources, ({ path }, { target, specifier }) => {
        const from = folderOf(path);
        const to = target === undefined ? undefined : folderOf(target);
        if (!from || !to || from === to) return undefined;
        return rankOf(to) < rankOf(from) ? undefined : `${from} may not import ${to} (${specifier})`;
      }),
  },
  {
    name: 'the issuing side of the CA stays out of the proxy',
    why: 'a sidecar must never hold code that can issue, and must not load jose or @peculiar/x509',
    breaches: (sources) =>
      eachImport(sources, ({ path }, { target, specifier }) =>
        folderOf(path) === 'proxy' && target && folderOf(target) === 'ca' ? specifier : undefined,
      ),
  },
  {
    name: 'doors',
    why: "other folders are entered by the doors in package.json's imports, so that what is behind them can move",
    breaches: (sources) =>
      eachImport(sources, ({ path }, { target, specifier }) => {
        const from = folderOf(path);
        const to = target === undefined ? undefined : folderOf(target);
        if (!from || !to || from === to) return undefined;
        return specifier.startsWith('.') ? `${specifier} goes past the door of ${to}` : undefined;
      }),
  },
  {
    name: 'every import leads somewhere',
    why: 'a specifier that no door matches fails only when the file is loaded',
    breaches: (sources) =>
      eachImport(sources, (_, { specifier, target }) =>
        specifier.startsWith('#') && target === undefined ? `${specifier} is not in package.json's imports` : undefined,
      ),
  },
  {
    name: 'inside a folder the own index is not imported',
    why: 'importing the own door makes a ring of the whole folder',
    breaches: (sources) =>
      eachImport(sources.filter(isProduct), ({ path }, { target, specifier }) =>
        target === `${folderOf(path)}/index.ts` ? specifier : undefined,
      ),
  },
  {
    name: 'no import rings',
    why: 'files that import each other cannot be read, tested or loaded one at a time',
    breaches: (sources) => ringsIn(sources.filter(isProduct)),
  },
  {
    name: 'single importers',
    why: 'each library has one place of ours around it, so that it can be replaced and so that processes which do not need it never load it',
    breaches: (sources) =>
      eachImport(sources.filter(isProduct), ({ path }, { specifier, typeOnly }) => {
        const places = singleImporters[packageOf(specifier)];
        if (!places || places.some((place) => (place.endsWith('/') ? path.startsWith(place) : path === place)))
          return undefined;
        return typeOnly ? undefined : `${specifier} belongs in ${places.join(', ')}`;
      }),
  },
  {
    name: 'only declared dependencies',
    why: 'a package that happens to be in node_modules is gone with the next update',
    breaches: (sources) =>
      eachImport(sources.filter(isProduct), (_, { specifier }) => {
        if (/^([.#]|node:)/.test(specifier) || packageOf(specifier) in singleImporters) return undefined;
        return `${specifier} is not a dependency (or a Node module without node:)`;
      }),
  },
  {
    name: 'nothing outside test/ imports test/',
    why: 'test code in production is a hole',
    breaches: (sources) =>
      eachImport(
        sources.filter(({ path }) => !path.startsWith('test/') && !path.startsWith('vitest')),
        (_, { target, specifier }) => (target?.startsWith('test/') ? specifier : undefined),
      ),
  },
  {
    name: 'no export *',
    why: 'a door names what it lets through; otherwise every helper becomes public',
    breaches: (sources) => sources.filter(isProduct).flatMap((source) => placesOf(source, /^\s*export\s+\*/)),
  },
  onlyIn({
    name: 'the environment is read in config/ only',
    why: 'hidden reads of the environment make a process impossible to configure or test on purpose',
    pattern: /\bprocess\s*\.\s*env\b|\benv\b[^'"\n]*\bfrom\s+'node:process'/,
    except: ['config/', 'cli/postern.js'],
  }),
  onlyIn({
    name: 'one file prints',
    why: 'cli/output.ts owns every printed word, so that data and talk never mix and nothing unsafe reaches a terminal',
    pattern: /\bconsole\s*\.|\bprocess\s*\.\s*(stdout|stderr)\b/,
    except: ['cli/output.ts', 'cli/main.ts', 'cli/postern.js'],
  }),
  onlyIn({
    name: 'one file reads the clock',
    why: 'time is an argument (Clock), so that expiry, rotation and time-outs can be tested without waiting',
    pattern: /\bDate\s*\.\s*now\b|\bnew\s+Date\s*\(\s*\)|\bperformance\s*\.\s*now\b/,
    // The demo times real processes, as a user with a stopwatch would.
    except: ['base/clock.ts', 'cli/demo/'],
  }),
  onlyIn({
    name: 'one file ends the process',
    why: 'process.exit elsewhere cuts off drains, logs and finally blocks',
    pattern: /\bprocess\s*\.\s*(exit|abort)\b/,
    except: ['cli/main.ts', 'cli/postern.js'],
  }),
  onlyIn({
    name: 'randomness is passed in',
    why: 'a jitter or balance that draws its own numbers cannot be tested; only the default of a `random` option may be Math.random',
    pattern: /\bMath\s*\.\s*random\s*\(|(?<!\brandom\s*(=|:|\?\?=|=[^;]*\?\?|:[^;]*\?\?)\s*)\bMath\s*\.\s*random\b/,
    except: [],
  }),
  onlyIn({
    name: 'no code from text',
    why: 'policies and configuration are data; eval and Function would make them code',
    pattern: /\beval\s*\(|\bnew\s+Function\b/,
    except: [],
  }),
  onlyIn({
    name: 'one file opens TLS connections',
    why: 'Node renders the whole chain of a server for its own check, which crashes the process on some keys; connectTls of #spiffe does not',
    pattern: /\bgetPeerCertificate\(|\btls\.connect\(|\bconnect as connectTls\b/,
    except: ['ca/spiffe/tls.ts'],
  }),
  {
    name: 'a function has a name before it is a property',
    why: 'V8 makes a function that is written straight into a property old at birth (it takes that for a method of a class), and all that it sees stays with it until the next collection of the whole heap: const f = () => …; o.p = f',
    breaches: (sources) => sources.filter(isProduct).flatMap(functionsPutInPlace),
  },
  {
    name: 'verification is never switched off',
    why: 'rejectUnauthorized false accepts anybody; only raw hostile clients in test/ may, and the listener of the control plane, whose public routes take callers without a certificate and which verifies every other caller itself',
    breaches: (sources) =>
      sources
        .filter((source) => !source.path.startsWith('test/structure/') && !/(hostile|raw)/.test(source.path))
        .filter((source) => source.path !== 'control/listener.ts' || !/\bverifyPeer\(/.test(source.code))
        .flatMap((source) => placesOf(source, /rejectUnauthorized['"]?\s*:(?!\s*true\b)|NODE_TLS_REJECT_UNAUTHORIZED/)),
  },
  {
    name: 'every file opens with a comment',
    why: 'its first lines say which question it answers and what it must never do (a test is named by its claim)',
    breaches: (sources) =>
      sources
        .filter(({ path, text }) => !path.endsWith('.test.ts') && !/^(#![^\n]*\n)?(\/\/ |\/\*)/.test(text))
        .map(({ path }) => `${path}:1`),
  },
  {
    name: 'short files',
    why: 'past 450 lines a second question has moved in: give it a file of its own',
    breaches: (sources) =>
      sources.filter(isProduct).flatMap(({ path, text }) => (text.split('\n').length > 451 ? [`${path}:451`] : [])),
  },
  {
    name: 'nothing is left for later',
    why: 'what is not built is absent; a note in the code is a promise that nobody keeps',
    breaches: (sources) =>
      sources
        .filter(({ path }) => !path.startsWith('test/structure/'))
        .flatMap(({ path, text }) =>
          text
            .split('\n')
            .flatMap((line, index) =>
              /\b(TODO|FIXME|XXX|HACK)\b|not (yet )?implemented/.test(line) ? [`${path}:${index + 1}`] : [],
            ),
        ),
  },
  {
    name: 'no god words in file names',
    why: 'utils, helper and manager are names for files without a question (test/helpers is a folder of subjects)',
    breaches: (sources) =>
      sources
        .filter(isProduct)
        .flatMap(({ path }) => (/(^|[/-])(utils?|helpers?|managers?|common|misc)[./-]/.test(path) ? [path] : [])),
  },
];

/** `o.p = () => …`, `o[p] ??= async function …`, over lines too. */
function functionsPutInPlace({ path, code }: Source): string[] {
  const literal = /(async\s*)?(function\b|\w+\s*=>|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*(:[^=;]*)?=>)/;
  const property = /(?<=[\w)\]!])(\s*\.\s*#?\w+|\[\s*[^[\]\s][^[\]]*\])\s*(\?\?|\|\||&&)?=\s*\(?/;
  const pattern = new RegExp(property.source + literal.source, 'g');
  return [...code.matchAll(pattern)].map(({ index }) => `${path}:${code.slice(0, index).split('\n').length}`);
}

/** Rings of imports that exist when files are loaded, each as `a -> b -> a`, the shortest way round. */
function ringsIn(sources: readonly Source[]): string[] {
  const edges = new Map(
    sources.map(({ path, imports }) => [
      path,
      imports.flatMap(({ target, typeOnly, dynamic }) => (target && !typeOnly && !dynamic ? [target] : [])),
    ]),
  );
  const rings = new Set<string>();
  for (const start of edges.keys()) {
    const seen = new Set<string>();
    const queue: string[][] = [[start]];
    for (let trail = queue.shift(); trail; trail = queue.shift()) {
      for (const next of edges.get(trail.at(-1)!) ?? []) {
        if (next === start) {
          const least = trail.indexOf([...trail].sort()[0]!);
          rings.add([...trail.slice(least), ...trail.slice(0, least), trail[least]].join(' -> '));
          queue.length = 0;
          break;
        }
        if (!seen.has(next)) queue.push([...trail, next]);
        seen.add(next);
      }
    }
  }
  return [...rings];
}
