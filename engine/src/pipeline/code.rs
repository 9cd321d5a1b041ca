use std::fmt;

use serde::{Serialize, Serializer};

/// Declares the codes and, from the same lines, their table.
macro_rules! codes {
    ($($name:ident $text:literal $meaning:literal,)*) => {
        /// What kind of thing a [`Diagnostic`](super::Diagnostic) reports, by a code that stays the same between versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All codes, in order: the table that the documentation of diagnostics is made from.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as it is printed: `C030`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => $meaning,)* }
            }
        }
    };
}

codes! {
    Unreadable "C001" "The file is not text that a pipeline can be written in: not UTF-8, a control character, or too large.",
    Syntax "C002" "The file is not YAML.",
    DuplicateKey "C003" "A key stands twice in one mapping; the first one counts.",
    UnsupportedYaml "C004" "Anchors, aliases, merge keys and tags are not read; a param says the same.",
    TooDeep "C005" "Lists and mappings are nested deeper, or are more, than any pipeline needs.",
    WrongShape "C006" "A mapping, a list or a single value stands where another of these is expected.",
    UnknownKey "C007" "A key that the format does not know.",
    MissingKey "C008" "A key that has to be there is not.",
    BadName "C009" "The name of a stage, param, store or model is not lowercase letters, digits and underscores.",
    UnknownVariable "C020" "`${name}` names no param of the file.",
    BadSubstitution "C021" "A `${` without its `}`, or without a name.",
    UnsetVariable "C022" "`${env:NAME}` names an environment variable that is not set.",
    MissingParam "C023" "A param without a default is not given.",
    BadParam "C024" "The declaration of a param is wrong.",
    UnknownSet "C025" "`--set` names no param of the file.",
    BadSet "C026" "The value that `--set` gives does not fit the param.",
    UnusedParam "C027" "Nothing in the file uses the param.",
    UnknownOperator "C030" "No operator has this name.",
    UnknownParameter "C031" "The operator has no such parameter.",
    MissingParameter "C032" "A parameter that the operator requires is not given.",
    WrongType "C033" "A value is of another type than its key takes.",
    OutOfRange "C034" "A value is of the right type but not one of those allowed.",
    UnknownModel "C035" "The file lists no model of this name.",
    UnknownStore "C036" "The file lists no store of this name.",
    BadModel "C037" "The model's folder does not hold a model that can be used.",
    BadStore "C038" "The store's settings are not sound.",
    UnusedModel "C039" "No stage uses the model.",
    UnusedStore "C040" "No stage uses the store.",
    Refused "C041" "The operator refuses how the stage is set up.",
    BadDefault "C042" "An operator's own default does not fit its type: a bug in the operator.",
    SecretInFile "C043" "A secret stands in the file in clear; the line is not shown.",
    UnknownInput "C050" "`from` names no stage of the file.",
    DuplicateInput "C051" "`from` names a stage twice.",
    SourceCount "C052" "The pipeline does not have exactly one source.",
    NoSink "C053" "The pipeline has no sink: nothing would be written.",
    Cycle "C054" "Stages take from each other in a circle.",
    DeadEnd "C055" "What the stage gives reaches no sink.",
    TakesFromSink "C056" "A stage takes from a sink, which gives nothing.",
    MissingInput "C057" "The stage needs an input and has no `from`.",
    SourceWithInput "C058" "A source takes from no stage, but this one has a `from`.",
    WrongInputs "C060" "The number or the kinds of the inputs are not what the operator takes.",
    DuplicateRowKey "C061" "Two stages write the same key of one result row.",
    LostInputs "C070" "All stages that this one gathers from are switched off.",
    NothingLeft "C071" "With the stages that are switched off, no row would be written.",
    Unmeetable "C080" "The operator cannot give what the stages behind it ask for.",
    Inapplicable "C090" "A setting that means nothing for this operator.",
    BadLimit "C091" "A bound that no run could keep.",
    BadDevice "C092" "The device is none of `auto`, `cpu`, `cuda`, `cuda:N`.",
    Oversubscribed "C093" "The stage asks for more threads than the process has.",
    LateTimeout "C094" "The stage may take longer than its item may live.",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert!(
            Code::ALL
                .windows(2)
                .all(|pair| pair[0].as_str() < pair[1].as_str())
        );
    }

    #[test]
    fn meanings_are_sentences() {
        for code in Code::ALL {
            assert!(code.meaning().ends_with('.'), "{code}");
        }
    }
}
