//! Whether letters look like chance, as those of a token do, or like something a person wrote.

/// Whether a body looks like chance, not like a placeholder: enough different bytes, no long repetition or row of the
/// alphabet, and in a short one none of the words that documentation uses. In a long one such a word turns up by
/// chance.
pub(super) fn plausible(body: &[u8]) -> bool {
    const SHORT: usize = 64;
    let is_short = body.len() <= SHORT;
    let run = if is_short { 6 } else { 12 };
    let repeated = body.windows(run).any(|w| w.iter().all(|b| *b == w[0]));
    let row = holds_row(body, 16);
    let varied = different(body) * 4 >= body.len().min(32);
    let named = is_short && names_placeholder(body);
    varied && !(repeated || row || named)
}

/// Whether that many bytes follow one another as they do in the alphabet.
pub(super) fn holds_row(body: &[u8], length: usize) -> bool {
    let next = |pair: &[u8]| pair[1] == pair[0].wrapping_add(1);
    body.windows(length).any(|part| part.windows(2).all(next))
}

/// Whether one of the words is there as people write it, not in letters of mixed case.
pub(super) fn names_placeholder(body: &[u8]) -> bool {
    const WORDS: [&str; 6] = [
        "example",
        "xxxx",
        "placeholder",
        "redacted",
        "changeme",
        "your",
    ];
    WORDS.iter().any(|word| {
        body.windows(word.len()).any(|part| {
            let cased = part[1..].iter().all(u8::is_ascii_lowercase)
                || part.iter().all(u8::is_ascii_uppercase);
            cased && part.eq_ignore_ascii_case(word.as_bytes())
        })
    })
}

pub(super) fn different(body: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in body {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Whether there are upper-case letters, lower-case letters and digits. One body in some hundred has no digit by
/// chance: it has more capitals than a name would have.
pub(super) fn mixed(body: &[u8]) -> bool {
    let count = |class: fn(&u8) -> bool| body.iter().filter(|b| class(b)).count();
    let letters = count(u8::is_ascii_uppercase).min(count(u8::is_ascii_lowercase));
    letters >= 6 || letters >= 1 && body.iter().any(u8::is_ascii_digit)
}

/// How often the kind of letter changes: capitals, small letters, digits.
pub(super) fn changes(body: &[u8]) -> usize {
    let kind = |byte: u8| match byte {
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    };
    let pairs = body.windows(2).map(|pair| (kind(pair[0]), kind(pair[1])));
    pairs.filter(|(a, b)| a != b && *a != 0 && *b != 0).count()
}
