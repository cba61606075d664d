//! German words of the trade, said in English: the readers know only those.
//!
//! One word in lower case comes in; the English words that stand for it leave, or nothing. Only headings, labels, headers
//! of tables and the first words of a step are asked, so no grammar is needed. A word that is also an English one
//! (`was`, `tag`, `die`) is not here.
//!
//! Read next: `words`, which asks for every word.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// What a compound may begin with, and what that says by itself.
const BEGINNINGS: &[(&str, &str)] =
    &[("notfall", "emergency"), ("katastrophen", "disaster"), ("system", "system")];

/// A word or stem, and what it is in English.
type Entry = (&'static str, &'static [&'static str]);

/// The words. A stem ends with `*`; earlier ones win.
const WORDS: &[Entry] = &[
    // Targets.
    ("wiederherstellungsziel*", &["recovery", "objectives"]),
    ("wiederherstellungszeit*", &["recovery", "time"]),
    ("wiederanlaufzeit*", &["recovery", "time"]),
    ("wiederherstellungspunkt*", &["recovery", "point"]),
    ("datenverlust*", &["data", "loss"]),
    ("ziele", &["targets"]),
    ("ziel", &["target"]),
    ("produktion", &["production"]),
    ("zielwert*", &["targets"]),
    ("zielzeit*", &["target", "time"]),
    ("prioritaet*", &["priority"]),
    ("kritikalitaet", &["criticality"]),
    ("gesamt*", &["overall"]),
    ("datenklasse*", &["data", "class"]),
    // Backups.
    ("sichern", &["back", "up"]),
    ("datensicherung*", &["backups"]),
    ("sicherungskopie*", &["backups"]),
    ("sicherung*", &["backup"]),
    ("aufbewahr*", &["retention"]),
    ("haeufigkeit", &["frequency"]),
    ("turnus", &["frequency"]),
    ("intervall", &["interval"]),
    ("speicherort*", &["location"]),
    ("ablageort*", &["location"]),
    ("ort", &["location"]),
    ("werkzeug*", &["tool"]),
    ("verfahren", &["method"]),
    // Scenarios and their parts.
    ("szenario", &["scenario"]),
    ("szenari*", &["scenarios"]),
    ("ausfallszenari*", &["failure", "scenarios"]),
    ("wiederherstellungsverfahren", &["recovery", "procedures"]),
    ("wiederherstellungsprozess*", &["recovery", "process"]),
    ("wiederherstellungstest*", &["restore", "test"]),
    ("wiederherstellen", &["restore"]),
    ("wiederherstellung*", &["recovery"]),
    ("einspielen", &["restore"]),
    ("stoerung*", &["outage"]),
    ("stoerfall*", &["outage"]),
    ("ausfall", &["failure"]),
    ("ausfaelle", &["failures"]),
    ("ausgefallen*", &["down"]),
    ("verloren*", &["lost"]),
    ("verlust", &["loss"]),
    ("defekt*", &["broken"]),
    ("kaputt*", &["broken"]),
    ("beschaedig*", &["corrupt"]),
    ("voll", &["full"]),
    ("angriff*", &["attack"]),
    ("geloescht*", &["deleted"]),
    ("absturz", &["crash"]),
    ("abgestuerzt*", &["crash"]),
    ("abgelaufen*", &["expired"]),
    ("haengt", &["stuck"]),
    ("langsam", &["slow"]),
    ("kompromittier*", &["compromised"]),
    ("einbruch", &["intrusion"]),
    ("anzeichen", &["signs"]),
    ("merkmale", &["signs"]),
    ("erkennung", &["detection"]),
    ("ausloeser", &["trigger"]),
    ("voraussetzung*", &["prerequisites"]),
    ("massnahme*", &["actions"]),
    ("sofortmassnahme*", &["immediate", "actions"]),
    ("vorgehen*", &["procedure"]),
    ("ablauf", &["procedure"]),
    ("schritt*", &["steps"]),
    ("behebung", &["resolution"]),
    ("durchfuehrung", &["procedure"]),
    ("anleitung", &["instructions"]),
    ("ueberpruefung*", &["verification"]),
    ("pruefung", &["verification"]),
    ("verifi*", &["verification"]),
    ("erfolgskontrolle", &["verification"]),
    ("abnahme", &["acceptance"]),
    ("dauer", &["duration"]),
    ("zeitbedarf", &["duration"]),
    ("zeitaufwand", &["duration"]),
    ("auswirkung*", &["impact"]),
    ("schweregrad", &["severity"]),
    ("hinweis*", &["note"]),
    ("achtung", &["warning"]),
    ("wichtig", &["important"]),
    // People.
    ("ansprechpartner*", &["contacts"]),
    ("ansprechperson*", &["contacts"]),
    ("kontakt*", &["contacts"]),
    ("telefonliste", &["phone", "book"]),
    ("rufbereitschaft", &["on", "call"]),
    ("bereitschaft", &["on", "call"]),
    ("telefon*", &["phone"]),
    ("handy*", &["mobile"]),
    ("mobil*", &["mobile"]),
    ("rufnummer", &["phone"]),
    ("rolle", &["role"]),
    ("rollen", &["roles"]),
    ("funktion", &["function"]),
    ("zustaendigkeit*", &["responsibilities"]),
    ("verantwortlichkeit*", &["responsibilities"]),
    ("zustaendig*", &["responsible", "owner"]),
    ("verantwortlich*", &["responsible", "owner"]),
    ("dienstleister", &["vendor"]),
    ("anbieter", &["vendor"]),
    ("lieferant*", &["supplier"]),
    ("dienst", &["service"]),
    ("dienste", &["services"]),
    ("komponente*", &["component"]),
    ("eskalation*", &["escalation"]),
    ("stufe", &["level"]),
    ("wen", &["whom", "to"]),
    // Rehearsals and rhythms.
    ("uebung*", &["drill"]),
    ("testplan", &["test", "plan"]),
    ("stuendlich*", &["hourly"]),
    ("taeglich*", &["daily"]),
    ("naechtlich*", &["nightly"]),
    ("woechentlich*", &["weekly"]),
    ("monatlich*", &["monthly"]),
    ("quartalsweise", &["quarterly"]),
    ("vierteljaehrlich*", &["quarterly"]),
    ("halbjaehrlich*", &["twice", "yearly"]),
    ("jaehrlich*", &["yearly"]),
    ("kontinuierlich", &["continuous"]),
    ("alle", &["every"]),
    ("jede*", &["each"]),
    ("monat", &["month"]),
    ("woche", &["week"]),
    ("nacht", &["night"]),
    ("quartal", &["quarter"]),
    ("sofort", &["immediately"]),
    ("keiner", &["none"]),
    ("keine", &["none"]),
    // The document, and what a step begins with.
    ("letzte*", &["last"]),
    ("zuletzt", &["last"]),
    ("naechste*", &["next"]),
    ("aktualisier*", &["updated"]),
    ("geaendert", &["updated"]),
    ("pruefliste", &["checklist"]),
    ("checkliste*", &["checklist"]),
    ("ueberblick", &["overview"]),
    ("uebersicht", &["overview"]),
    ("einleitung", &["introduction"]),
    ("zweck", &["purpose"]),
    ("geltungsbereich", &["scope"]),
    ("inhalt", &["contents"]),
    ("inhaltsverzeichnis", &["contents"]),
    ("nachbereitung", &["post", "incident"]),
    ("nachbearbeitung", &["post", "incident"]),
    ("ueberwachung", &["monitoring"]),
    ("kommunikation", &["communication"]),
    ("falls", &["if"]),
    ("wenn", &["if"]),
    ("sofern", &["if"]),
    ("ansonsten", &["otherwise"]),
    ("siehe", &["see"]),
    ("weiter", &["continue"]),
    ("mit", &["with"]),
    ("nach", &["after"]),
    ("loeschen", &["delete"]),
    ("entfernen", &["remove"]),
    ("ersetzen", &["replace"]),
    ("zuruecksetzen", &["reset"]),
    ("informieren", &["inform"]),
    ("anrufen", &["call"]),
];

/// Returns the English words for a word in lower case.
pub(super) fn in_english(word: &str) -> Option<Vec<&'static str>> {
    let word = if word.is_ascii() {
        Cow::Borrowed(word)
    } else {
        let spelled = [('\u{e4}', "ae"), ('\u{f6}', "oe"), ('\u{fc}', "ue"), ('\u{df}', "ss")];
        Cow::Owned(spelled.iter().fold(word.to_owned(), |word, (letter, said)| word.replace(*letter, said)))
    };
    if let Some(found) = of(&word) {
        return Some(found.to_vec());
    }
    let (begin, rest) =
        BEGINNINGS.iter().find_map(|(begin, said)| Some((said, word.strip_prefix(begin)?)))?;
    Some(std::iter::once(*begin).chain(of(rest)?.iter().copied()).collect())
}

/// The words by their first two letters: every word of a document is looked up.
static BY_BEGINNING: LazyLock<HashMap<[u8; 2], Vec<&'static Entry>>> = LazyLock::new(|| {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for entry in WORDS {
        if let [first, second, ..] = *entry.0.as_bytes() {
            all.entry([first, second]).or_default().push(entry);
        }
    }
    all
});

fn of(word: &str) -> Option<&'static [&'static str]> {
    let [first, second, ..] = *word.as_bytes() else { return None };
    let fits =
        |known: &str| known.strip_suffix('*').map_or_else(|| word == known, |stem| word.starts_with(stem));
    let entries = BY_BEGINNING.get(&[first, second])?;
    entries.iter().find(|(known, _)| fits(known)).map(|(_, said)| *said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_compounds_and_both_ways_to_write_an_umlaut_are_known() {
        for (word, said) in [
            ("\u{fc}bungen", Some(vec!["drill"])),
            ("uebung", Some(vec!["drill"])),
            ("notfall\u{fc}bung", Some(vec!["emergency", "drill"])),
            ("wiederanlaufzeit", Some(vec!["recovery", "time"])),
            ("ma\u{df}nahmen", Some(vec!["actions"])),
            ("was", None),
            ("recovery", None),
            ("system", None),
        ] {
            assert_eq!(in_english(word), said, "{word}");
        }
    }
}
