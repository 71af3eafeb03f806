/**
 * The completion scripts. Each asks kina at every press of the key: the hidden `kina __complete -- WORD…` prints the
 * candidates for the last word, one per line, with a tab and a description. Without candidates the shells offer files.
 */
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { answer } from '../terminal/context.ts';

const bash = String.raw`# bash completion of kina: source <(kina completion bash)
_kina() {
  local IFS=$'\n'
  COMPREPLY=($("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o bashdefault -o default -F _kina kina
`.replaceAll('\\$', '$');

const zsh = String.raw`#compdef kina
# zsh completion of kina: source <(kina completion zsh), or as a file _kina in a folder of fpath
_kina() {
  local -a candidates
  candidates=("\${(@f)$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  candidates=("\${(@)candidates:#}")
  if (( ! \${#candidates} )); then _files; return; fi
  candidates=("\${(@)candidates//:/\\:}")
  candidates=("\${(@)candidates//$'\t'/:}")
  _describe kina candidates
}
if [[ \${funcstack[1]} == _kina ]]; then _kina "$@"; else compdef _kina kina; fi
`.replaceAll('\\$', '$');

const fish = String.raw`# fish completion of kina: kina completion fish | source
function __kina_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l candidates (command $before[1] __complete -- $before[2..-1] "$word" 2>/dev/null)
    if test (count $candidates) -gt 0
        printf '%s\n' $candidates
    else
        __fish_complete_path "$word"
    end
end
complete -c kina -f -a '(__kina_complete)'
`;

// Older PowerShells lose empty arguments of programs: --new stands for an empty last word.
const powershell = `# PowerShell completion of kina: kina completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName kina -ScriptBlock {
    param($word, $ast, $cursor)
    $before = @($ast.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { "$_" })
    $candidates = if ($word -eq '') { kina __complete --new -- @before 2>$null } else { kina __complete -- @before $word 2>$null }
    foreach ($candidate in $candidates) {
        $value, $text = $candidate -split [char]9, 2
        if (-not $text) { $text = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $text)
    }
}
`;

const scripts: Readonly<Record<string, string>> = { bash, zsh, fish, powershell };

export function run(_flags: unknown, shell: string): void {
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
  if (script) {
    answer(script);
    return;
  }
  const known = Object.keys(scripts);
  throw new KinaError('usage', `no completion for ${JSON.stringify(shell)}${didYouMean(shell, known)}`, {
    hint: `Shells: ${known.join(', ')}.`,
  });
}
