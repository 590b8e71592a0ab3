//! The commands of a line of shell, as far as words, quotes and the operators between commands go (POSIX.1-2024, Shell Command
//! Language 2.2 to 2.9). Nothing is expanded and nothing is run; a word that only a shell can resolve says so.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// Longest script that is looked at, in bytes. Those of published fleets have less than two thousand.
const LONGEST: usize = 64 << 10;

/// What follows a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `;`, a new line or the end: the next one starts once it has ended.
    Sequence,
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `|`.
    Pipe,
    /// `&`: the next one starts at once.
    Background,
}

/// A word after removal of its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its text; of what is not literal as it is written.
    pub(crate) text: String,
    /// No shell would make anything else of it.
    pub(crate) literal: bool,
}

/// A simple command, or the beginning or end of a compound one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Its words.
    pub(crate) words: Vec<Word>,
    /// What follows it.
    pub(crate) end: End,
    /// Bytes of the script that it has, without what follows it.
    pub(crate) range: Range<usize>,
    /// Bytes of the script with what follows it.
    pub(crate) whole: Range<usize>,
    /// It reads or writes files.
    pub(crate) redirected: bool,
    /// It writes one that stays: none of the shell's own streams, nor /dev/null.
    pub(crate) writes: bool,
}

/// The commands of a script; `None` if that is not one which can be read with so little grammar.
pub(crate) fn commands(script: &str) -> Option<Vec<Command>> {
    if script.len() > LONGEST {
        return None;
    }
    let mut reader = Reader { script, rest: script.char_indices().peekable() };
    let mut commands = Vec::new();
    let mut now = Pending::default();
    while let Some(&(at, c)) = reader.rest.peek() {
        match c {
            '\n' | ';' => {
                reader.skip();
                now.close(End::Sequence, reader.at(), &mut commands);
            }
            '&' => {
                reader.skip();
                // bash's `&> file`.
                if reader.is_at(['>']) {
                    continue;
                }
                let end = if reader.skip_if('&') { End::And } else { End::Background };
                now.close(end, reader.at(), &mut commands);
            }
            '|' => {
                reader.skip();
                let end = if reader.skip_if('|') { End::Or } else { End::Pipe };
                now.close(end, reader.at(), &mut commands);
            }
            '(' | ')' => return None,
            '<' | '>' => {
                now.from = now.from.or(Some(at));
                now.writes |= reader.redirection()?;
                now.redirected = true;
                now.until = reader.at();
            }
            '#' => while reader.rest.next_if(|(_, c)| *c != '\n').is_some() {},
            c if c.is_whitespace() => reader.skip(),
            _ => {
                let word = reader.word()?;
                // A number right before `<` or `>` is the file's, no word.
                let of_file = word.text.bytes().all(|byte| byte.is_ascii_digit()) && reader.is_at(['<', '>']);
                now.from = now.from.or(Some(at));
                now.until = reader.at();
                // `\` before a new line is nothing at all.
                let nothing = word.text.is_empty() && !reader.quoted(at);
                if !of_file && !nothing {
                    now.words.push(word);
                }
            }
        }
    }
    now.close(End::Sequence, script.len(), &mut commands);
    Some(commands)
}

#[derive(Default)]
struct Pending {
    words: Vec<Word>,
    from: Option<usize>,
    until: usize,
    redirected: bool,
    writes: bool,
}

impl Pending {
    fn close(&mut self, end: End, at: usize, commands: &mut Vec<Command>) {
        let Self { words, from, until, redirected, writes } = std::mem::take(self);
        // A redirection alone makes its file.
        if words.is_empty() && !writes {
            // `a &` and a new line: what follows is behind the `&`.
            return;
        }
        let from = from.unwrap_or(until);
        commands.push(Command { words, end, range: from..until, whole: from..at, redirected, writes });
    }
}

struct Reader<'s> {
    script: &'s str,
    rest: Peekable<CharIndices<'s>>,
}

impl Reader<'_> {
    fn at(&mut self) -> usize {
        self.rest.peek().map_or(self.script.len(), |(at, _)| *at)
    }

    fn skip(&mut self) {
        self.rest.next();
    }

    fn skip_if(&mut self, wanted: char) -> bool {
        self.rest.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn is_at<const N: usize>(&mut self, one_of: [char; N]) -> bool {
        self.rest.peek().is_some_and(|(_, c)| one_of.contains(c))
    }

    fn quoted(&self, at: usize) -> bool {
        self.script.as_bytes().get(at).is_some_and(|byte| [b'\'', b'"'].contains(byte))
    }

    /// An operator of a redirection and its file, and whether that is written and stays. Here-documents are none that this reads.
    fn redirection(&mut self) -> Option<bool> {
        let mut operator = String::new();
        while let Some((_, c)) = self.rest.next_if(|(_, c)| ['<', '>', '&', '|'].contains(c)) {
            operator.push(c);
        }
        if operator.starts_with("<<") {
            return None;
        }
        while self.rest.next_if(|(_, c)| *c == ' ' || *c == '\t').is_some() {}
        let file = self.word().filter(|word| !word.text.is_empty())?.text;
        let number = file == "-" || file.bytes().all(|byte| byte.is_ascii_digit());
        let stream = (operator.ends_with('&') && number)
            || ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty"].contains(&file.as_str())
            || ["/dev/fd/", "/proc/1/fd/"].iter().any(|streams| file.starts_with(streams));
        Some(operator.contains('>') && !stream)
    }

    fn word(&mut self) -> Option<Word> {
        let mut word = Word { text: String::new(), literal: true };
        while let Some(&(_, c)) = self.rest.peek() {
            match c {
                '\'' => {
                    self.skip();
                    loop {
                        match self.rest.next()? {
                            (_, '\'') => break,
                            (_, c) => word.text.push(c),
                        }
                    }
                }
                '"' => {
                    self.skip();
                    self.in_double_quotes(&mut word)?;
                }
                '\\' => {
                    self.skip();
                    if let Some((_, c)) = self.rest.next().filter(|(_, c)| *c != '\n') {
                        word.text.push(c);
                    }
                }
                '$' | '`' => self.expansion(&mut word)?,
                ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                c if c.is_whitespace() => break,
                c => {
                    self.skip();
                    word.text.push(c);
                    // Braces only in pairs with a comma or dots would be expanded; none of them is worth a guess.
                    word.literal &= !['*', '?', '[', '{', '~'].contains(&c);
                }
            }
        }
        Some(word)
    }

    fn in_double_quotes(&mut self, word: &mut Word) -> Option<()> {
        loop {
            match *self.rest.peek()? {
                (_, '"') => {
                    self.skip();
                    return Some(());
                }
                (_, '\\') => {
                    self.skip();
                    let (_, c) = self.rest.next()?;
                    if !['$', '`', '"', '\\', '\n'].contains(&c) {
                        word.text.push('\\');
                    }
                    if c != '\n' {
                        word.text.push(c);
                    }
                }
                (_, '$' | '`') => self.expansion(word)?,
                (_, c) => {
                    self.skip();
                    word.text.push(c);
                }
            }
        }
    }

    /// What a shell would put in; its text stays as it is written.
    fn expansion(&mut self, word: &mut Word) -> Option<()> {
        word.literal = false;
        let (_, first) = self.rest.next()?;
        word.text.push(first);
        let close = match (first, self.rest.peek()) {
            ('`', _) => '`',
            (_, Some((_, '('))) => ')',
            (_, Some((_, '{'))) => '}',
            _ => return Some(()),
        };
        let open = if close == ')' { '(' } else { '{' };
        let mut depth = u32::from(close == '`');
        loop {
            let (_, c) = self.rest.next()?;
            word.text.push(c);
            if c == close {
                depth = depth.saturating_sub(1);
            } else if c == open {
                depth = depth.saturating_add(1);
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

impl Command {
    /// Whether a word of it names this.
    pub(crate) fn names(&self, part: &str) -> bool {
        self.words.iter().any(|word| word.text.contains(part))
    }
}

/// Whether the list of commands that this one is in goes on while it runs: an `&` ends all of `a && b &`.
pub(crate) fn in_background(commands: &[Command], index: usize) -> bool {
    let of_list = |command: &&Command| matches!(command.end, End::And | End::Or | End::Pipe);
    let last = commands.iter().skip(index).find(|command| !of_list(command));
    last.is_some_and(|command| command.end == End::Background)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(script: &str) -> Vec<(String, End)> {
        let commands = commands(script).unwrap();
        let text = |word: &Word| if word.literal { word.text.clone() } else { format!("<{}>", word.text) };
        let line = |command: &Command| command.words.iter().map(text).collect::<Vec<_>>().join(" ");
        commands.iter().map(|command| (line(command), command.end)).collect()
    }

    #[test]
    fn commands_are_words_between_operators() {
        assert_eq!(
            shown(
                "ulimit -n 65536; echo 'a  b' && eval \"$START --x\" & # why\n vllm serve m \\\n  --port=\"80\"00 2>&1 | tee /x"
            ),
            [
                ("ulimit -n 65536".to_owned(), End::Sequence),
                ("echo a  b".to_owned(), End::And),
                ("eval <$START --x>".to_owned(), End::Background),
                ("vllm serve m --port=8000".to_owned(), End::Pipe),
                ("tee /x".to_owned(), End::Sequence),
            ]
        );
        assert_eq!(
            shown("a $(b; c $(d)) ${e} `f;g` *.x '' x"),
            [("a <$(b; c $(d))> <${e}> <`f;g`> <*.x>  x".to_owned(), End::Sequence)]
        );
        assert_eq!(shown("until curl x > /dev/null 2>&1; do sleep 2; done && a").len(), 4);
        for odd in ["a 'b", "a \"b", "$(a", "(a; b)", "cat << E", "f() { a; }"] {
            assert_eq!(commands(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_ampersand_ends_the_whole_list() {
        let list = commands("a && b & c; d &").unwrap();
        let background: Vec<bool> = (0..list.len()).map(|index| in_background(&list, index)).collect();
        assert_eq!(background, [true, true, false, true]);
    }

    proptest! {
        #[test]
        fn whatever_the_script_is_its_ranges_are_parts_of_it(script in "[a$\\\\'\"`(){};&|<># \n=ß0-]{0,60}") {
            for command in commands(&script).into_iter().flatten() {
                prop_assert!(script.get(command.range.clone()).is_some(), "{command:?}");
                prop_assert!(script.get(command.whole.clone()).is_some(), "{command:?}");
            }
        }
    }
}
