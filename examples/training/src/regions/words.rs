//! What is written: words of several scripts.

use crate::chance::Chance;

/// A script, how often it is used, and what is written in it.
pub struct Script {
    /// In messages.
    pub name: &'static str,
    /// How often, against the others.
    pub weight: f32,
    /// How the files of its fonts begin.
    pub fonts: &'static [&'static str],
    /// Words. Their script needs no spaces if `spaced` is false.
    pub words: &'static [&'static str],
    /// Whether there is space between words.
    pub spaced: bool,
}

const EUROPEAN: &[&str] = &[
    "DejaVu",
    "Liberation",
    "FreeS",
    "FreeMono",
    "NotoSans-",
    "NotoSerif-",
    "NotoSansDisplay-",
    "NotoSerifDisplay-",
    "NotoMono-",
];

/// All scripts, Latin first.
pub static SCRIPTS: [Script; 9] = [
    Script {
        name: "Latin",
        weight: 10.0,
        fonts: EUROPEAN,
        words: &[
            "and",
            "the",
            "we",
            "never",
            "thought",
            "it",
            "would",
            "come",
            "to",
            "this",
            "Where",
            "have",
            "you",
            "been?",
            "I",
            "told",
            "her",
            "everything.",
            "Wait!",
            "morning",
            "between",
            "houses",
            "river",
            "light",
            "No,",
            "listen",
            "maybe",
            "tomorrow",
            "of",
            "an",
            "old",
            "friend",
            "Warum",
            "nicht?",
            "schöne",
            "Straße",
            "früher",
            "también",
            "mañana",
            "qué",
            "está",
            "garçon",
            "où",
            "très",
            "déjà",
            "perché",
            "così",
            "não",
            "coração",
            "kırmızı",
            "için",
            "źródło",
            "każdy",
            "Příliš",
            "žluťoučký",
            "minutes",
            "later",
            "1984",
            "12",
            "weeks",
            "ago,",
            "somebody",
            "left",
            "without",
            "a",
            "word",
        ],
        spaced: true,
    },
    Script {
        name: "Cyrillic",
        weight: 2.0,
        fonts: EUROPEAN,
        words: &[
            "Привет,",
            "как",
            "дела?",
            "я",
            "не",
            "знаю,",
            "что",
            "сказать",
            "сегодня",
            "утром",
            "вечер",
            "мы",
            "пошли",
            "домой",
            "Жизнь",
            "моя",
            "хорошо",
            "друг",
            "и",
            "щука",
            "подъезд",
            "река",
            "Київ",
            "їжак",
            "любов",
            "Ђорђе",
        ],
        spaced: true,
    },
    Script {
        name: "Greek",
        weight: 1.0,
        fonts: EUROPEAN,
        words: &[
            "Καλημέρα",
            "τι",
            "κάνεις;",
            "η",
            "θάλασσα",
            "σήμερα",
            "δεν",
            "ξέρω",
            "πού",
            "πάμε",
            "το",
            "βράδυ",
            "φίλε",
            "μου",
            "ψυχή",
            "Αθήνα",
        ],
        spaced: true,
    },
    Script {
        name: "Han and kana",
        weight: 3.5,
        fonts: &["NotoSansCJK", "NotoSerifCJK"],
        words: &[
            "你好",
            "我們",
            "今天",
            "为什么",
            "不知道",
            "朋友",
            "明天见",
            "世界",
            "时间",
            "回家",
            "电影",
            "谢谢",
            "こんにちは",
            "今日は",
            "どこへ",
            "行くの",
            "わかった",
            "ありがとう",
            "映画",
            "東京",
            "だから",
            "春の雨",
            "さよなら",
            "テレビ",
            "ニュース",
            "没有人",
            "听见",
        ],
        spaced: false,
    },
    Script {
        name: "Hangul",
        weight: 1.2,
        fonts: &["NotoSansCJK", "NotoSerifCJK"],
        words: &[
            "안녕하세요",
            "오늘은",
            "어디",
            "가요?",
            "사랑",
            "시간이",
            "없어요",
            "친구야",
            "그래서",
            "영화",
            "서울",
            "내일",
            "만나자",
            "왜",
        ],
        spaced: true,
    },
    Script {
        name: "Arabic",
        weight: 2.0,
        fonts: &[
            "NotoSansArabic",
            "NotoNaskhArabic",
            "NotoKufiArabic",
            "DejaVuSans",
        ],
        words: &[
            "مرحبا",
            "كيف",
            "حالك",
            "اليوم",
            "في",
            "المدينة",
            "لا",
            "أعرف",
            "ماذا",
            "أقول",
            "صديقي",
            "الليل",
            "من",
            "هنا",
            "شكرا",
            "القمر",
            "أين",
            "كنت",
        ],
        spaced: true,
    },
    Script {
        name: "Devanagari",
        weight: 1.5,
        fonts: &["NotoSansDevanagari", "NotoSerifDevanagari"],
        words: &[
            "नमस्ते",
            "आप",
            "कैसे",
            "हैं",
            "मुझे",
            "नहीं",
            "पता",
            "आज",
            "शाम",
            "को",
            "दोस्त",
            "घर",
            "चलो",
            "क्या",
            "हुआ",
            "ज़िंदगी",
            "प्यार",
        ],
        spaced: true,
    },
    Script {
        name: "Thai",
        weight: 1.0,
        fonts: &["NotoSansThai", "NotoSerifThai", "NotoLoopedThai"],
        words: &[
            "สวัสดี",
            "วันนี้",
            "ไปไหน",
            "ฉันไม่รู้",
            "เพื่อน",
            "กลับบ้าน",
            "ขอบคุณ",
            "ทำไม",
            "ความรัก",
            "พรุ่งนี้",
        ],
        spaced: false,
    },
    Script {
        name: "Hebrew",
        weight: 0.6,
        fonts: &["NotoSansHebrew", "NotoSerifHebrew", "DejaVuSans"],
        words: &[
            "שלום",
            "מה",
            "שלומך",
            "היום",
            "אני",
            "לא",
            "יודע",
            "לאן",
            "הולכים",
            "תודה",
        ],
        spaced: true,
    },
];

impl Script {
    /// A line of about so many letters.
    pub fn line(&self, letters: usize, chance: &mut Chance) -> String {
        let mut line = String::new();
        while line.chars().count() < letters {
            if !line.is_empty() && self.spaced {
                line.push(' ');
            }
            let word: &&str = chance.pick(self.words);
            line.push_str(word);
        }
        line
    }
}

/// Parts of names of channels, studios and people, for logos and watermarks.
const NAME_PARTS: &[&str] = &[
    "Nova", "Sky", "Blue", "Art", "News", "Kino", "Pixel", "Vista", "Luna", "Echo", "Prime",
    "Terra", "Moto", "Zen", "Hub", "Wild", "Studio", "Sport", "Media", "Stock", "Photo", "Cine",
    "Globe", "Fox", "Arena", "Daily", "Max", "Metro", "Radio", "Planet", "Open", "Delta",
];

/// A made-up name: `NovaTV`, `Sky 24`, `KN`, `@wildpixel`, `blueart.com`.
pub fn name(chance: &mut Chance) -> String {
    let part = |chance: &mut Chance| (*chance.pick(NAME_PARTS)).to_owned();
    match chance.below(9) {
        0 => format!("{}TV", part(chance)),
        1 => format!("{} {}", part(chance), chance.between(1, 99)),
        2 => part(chance).to_uppercase(),
        3 => format!("{}{}", part(chance), part(chance)),
        4 => format!(
            "@{}{}",
            part(chance).to_lowercase(),
            part(chance).to_lowercase()
        ),
        5 => format!(
            "{}{}.com",
            part(chance).to_lowercase(),
            part(chance).to_lowercase()
        ),
        6 => initials(chance),
        7 => format!("{} {}", part(chance), part(chance)),
        _ => part(chance),
    }
}

/// One to three capital letters, perhaps with a figure.
pub fn initials(chance: &mut Chance) -> String {
    let letters = chance.between(1, 3);
    let mut text: String = (0..letters)
        .map(|_| char::from(b'A' + chance.below(26) as u8))
        .collect();
    if chance.is(0.25) {
        text.push(char::from(b'1' + chance.below(9) as u8));
    }
    text
}

/// What is stamped over pictures that are not paid for.
pub fn stamp(chance: &mut Chance) -> String {
    const STAMPS: &[&str] = &[
        "PREVIEW",
        "SAMPLE",
        "DRAFT",
        "DO NOT COPY",
        "COPYRIGHT",
        "Trial version",
        "DEMO",
        "CONFIDENTIAL",
        "unregistered",
        "FOR REVIEW ONLY",
        "© 2024",
        "PROOF",
    ];
    if chance.is(0.5) {
        (*chance.pick(STAMPS)).to_owned()
    } else {
        name(chance)
    }
}
