// Completion scripts for bash, zsh and fish from the tree of commands. Pure: a tree in, text out.
import type { Command, Option } from 'commander';
import { fail } from './errors.ts';

interface Node {
  /** Words after `postern`, such as `ca init`; empty for the program itself. */
  readonly path: string;
  readonly description: string;
  readonly children: readonly Node[];
  readonly options: readonly Option[];
  /** What its arguments name, in order: `identity`, `service`, `kind`, `name` (of the kind before it) or fixed words. */
  readonly completes: readonly string[];
}

/** Throws `CLI_USAGE` for a shell that is not known. */
export function completionScript(shell: string, program: Command): string {
  const root = nodeOf(program, '');
  if (shell === 'bash') return bash(root);
  if (shell === 'zsh') return zsh(root);
  if (shell === 'fish') return fish(root);
  throw fail('CLI_USAGE', { problem: `there is no completion for ${shell}`, fix: 'the shells: bash, zsh, fish' });
}

const argumentsOf: Readonly<Record<string, readonly string[]>> = {
  get: ['kind', 'name'],
  delete: ['kind', 'name'],
  'identity show': ['identity'],
  'identity ban': ['identity'],
  'identity unban': ['identity'],
  'token create': ['identity'],
  describe: ['service'],
  route: ['service'],
  tap: ['service'],
  status: ['service'],
  'proxy dump': ['service'],
  completion: ['bash zsh fish'],
};

function nodeOf(command: Command, path: string): Node {
  const children = command.createHelp().visibleCommands(command);
  const options = command.createHelp().visibleOptions(command);
  return {
    path,
    description: command.description(),
    children: children.map((child) => nodeOf(child, path ? `${path} ${child.name()}` : child.name())),
    options,
    completes: argumentsOf[path] ?? [],
  };
}

function flat(node: Node): readonly Node[] {
  return [node, ...node.children.flatMap(flat)];
}

function wordsOf(node: Node, root: Node): string {
  const flags = (one: Node): string[] =>
    one.options.flatMap(({ long, short }) => [long, short]).filter((flag) => flag !== undefined);
  const names = node.children.map(({ path }) => path.split(' ').pop()!);
  return [...names, ...new Set([...flags(node), ...flags(root)])].join(' ');
}

/** The shell function that walks the words typed so far to the command they name; shared by bash and zsh. */
function walker(root: Node): string {
  const nodes = flat(root);
  const rows = nodes.map(
    (node) => `    '${node.path}') words='${wordsOf(node, root)}'; completes='${node.completes.join(';')}' ;;`,
  );
  const valued = [
    ...new Set(
      nodes
        .flatMap(({ options }) => options.filter(({ required, optional }) => required || optional))
        .flatMap(({ long, short }) => [long, short]),
    ),
  ];
  const files = [
    ...new Set(nodes.flatMap(({ options }) => options.filter(isFile)).flatMap(({ long, short }) => [long, short])),
  ];
  const join = (flags: readonly (string | undefined)[]): string => flags.filter((flag) => flag !== undefined).join('|');
  return `_postern_node() {
  case "$1" in
${rows.join('\n')}
    *) return 1 ;;
  esac
}
_postern_takes_value() {
  case "$1" in ${join(valued)}) return 0 ;; *) return 1 ;; esac
}
_postern_takes_file() {
  case "$1" in ${join(files)}) return 0 ;; *) return 1 ;; esac
}
# Answers in words, completes and typed (arguments so far) for the words given.
_postern_walk() {
  local node='' word skip=''
  typed=()
  _postern_node ''
  for word in "$@"; do
    if [ -n "$skip" ]; then skip=''; continue; fi
    case "$word" in
      -*) if _postern_takes_value "$word"; then skip=1; fi; continue ;;
    esac
    if _postern_node "\${node:+$node }$word"; then node="\${node:+$node }$word"; typed=(); else typed+=("$word"); fi
  done
  _postern_node "$node"
}
# Live names for the argument that comes next.
_postern_names() {
  local what
  what="$(printf '%s' "$completes" | cut -d';' -f"$1")"
  [ "$what" = name ] && what="$2"
  case "$what" in
    '') ;;
    *' '*) printf '%s\\n' "$what" ;;
    *) postern complete-names "$what" 2>/dev/null ;;
  esac
}
`;
}

function bash(root: Node): string {
  return `# Completion of postern for bash: source <(postern completion bash)
${walker(root)}_postern() {
  local words completes typed current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
  COMPREPLY=()
  if _postern_takes_file "$previous"; then COMPREPLY=($(compgen -f -- "$current")); return; fi
  case "$previous" in -o|--output) COMPREPLY=($(compgen -W 'table wide json yaml' -- "$current")); return ;; esac
  if _postern_takes_value "$previous"; then return; fi
  _postern_walk "\${before[@]}"
  case "$current" in
    -*) ;;
    *) words="$words $(_postern_names $((\${#typed[@]}+1)) "\${typed[0]}")" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _postern postern
`;
}

function zsh(root: Node): string {
  return `#compdef postern
# Completion of postern for zsh: postern completion zsh > FOLDER-OF-FPATH/_postern
${walker(root)}_postern() {
  local words_typed current previous
  words_typed=("\${(@)words[2,CURRENT-1]}")
  current="\${words[CURRENT]}"
  previous="\${words[CURRENT-1]}"
  if _postern_takes_file "$previous"; then _files; return; fi
  case "$previous" in -o|--output) compadd table wide json yaml; return ;; esac
  if _postern_takes_value "$previous"; then return; fi
  local words completes typed names
  _postern_walk "\${words_typed[@]}"
  compadd -- \${=words}
  case "$current" in
    -*) ;;
    *) names="$(_postern_names $((\${#typed[@]}+1)) "\${typed[1]}")"; [ -n "$names" ] && compadd -- \${=names} ;;
  esac
}
if [ "$funcstack[1]" = _postern ]; then _postern "$@"; else compdef _postern postern; fi
`;
}

function fish(root: Node): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = flat(root).flatMap((node) => {
    const names = node.path.split(' ').filter(Boolean);
    const seen = names.map((name) => `__fish_seen_subcommand_from ${name}`);
    const childNames = node.children.map(({ path }) => path.split(' ').pop()!);
    const none = childNames.length > 0 ? [`not __fish_seen_subcommand_from ${childNames.join(' ')}`] : [];
    const when = [...seen, ...none].join('; and ');
    const option = ({ long, short, description, required, optional }: Option, condition: string): string =>
      [
        'complete -c postern',
        condition && `-n ${quote(condition)}`,
        long && `-l ${long.slice(2)}`,
        short && `-s ${short.slice(1)}`,
        required || optional ? '-r' : '',
        `-d ${quote(description)}`,
      ]
        .filter(Boolean)
        .join(' ');
    return [
      ...node.children.map(
        (child) =>
          `complete -c postern -f -n ${quote(when)} -a ${child.path.split(' ').pop()} -d ${quote(child.description)}`,
      ),
      ...node.options.map((each) => option(each, seen.join('; and '))),
      ...node.completes.flatMap((what) => {
        if (what === 'name')
          return [
            `complete -c postern -f -n ${quote(when)} -a '(postern complete-names (commandline -opc)[3] 2>/dev/null)'`,
          ];
        const words = what.includes(' ') ? quote(what) : quote(`(postern complete-names ${what} 2>/dev/null)`);
        return [`complete -c postern -f -n ${quote(when)} -a ${words}`];
      }),
    ];
  });
  return `# Completion of postern for fish: postern completion fish > ~/.config/fish/completions/postern.fish
complete -c postern -f
${lines.join('\n')}
`;
}

function isFile({ flags }: Option): boolean {
  return /<(FILE|PATH|DIR|dir)(\.\.\.)?>/.test(flags);
}
