use strsim::damerau_levenshtein;

/// Most names that a message lists.
pub(super) const MANY: usize = 12;
/// How many it lists where there are more.
pub(super) const SOME: usize = 10;

/// The known name that a misspelt one is most likely meant to be: at most a third of its letters differ, and never more
/// than three. Of equally near names the first one.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Distances are quadratic in length; a name as long as this is none.
    if name.chars().count() > 100 {
        return None;
    }
    let lowercase = name.to_lowercase();
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| {
            (
                damerau_levenshtein(&lowercase, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The help that goes with an unknown name: the nearest known one, or all of them if they are few.
pub(super) fn suggestion<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(name, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = known.into_iter().collect();
    match all.len() {
        0 => None,
        1..=MANY => Some(format!("known: {}", all.join(", "))),
        _ => Some(format!(
            "known: {} and {} more",
            all[..SOME].join(", "),
            all.len() - SOME
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["sample", "decode", "windows", "a"];

    #[test]
    fn slips_are_found() {
        assert_eq!(nearest("smaple", KNOWN), Some("sample"));
        assert_eq!(nearest("Decode", KNOWN), Some("decode"));
        assert_eq!(nearest("window", KNOWN), Some("windows"));
    }

    #[test]
    fn other_words_are_not() {
        assert_eq!(nearest("classify", KNOWN), None);
        assert_eq!(nearest("", ["abc"]), None);
        assert_eq!(nearest(&"a".repeat(1000), KNOWN), None);
    }

    #[test]
    fn few_names_are_listed() {
        assert_eq!(
            suggestion("zzzz", KNOWN).as_deref(),
            Some("known: sample, decode, windows, a")
        );
        assert_eq!(suggestion("zzzz", []), None);
    }
}
