//! The question that was last asked, kept while one host after another is judged by it.

use alloc::string::String;

use guildhall_policy::Request;

use crate::question::Question;

/// What was asked, and what it came to.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    words: String,
    pub(crate) question: Question,
}

impl Asked {
    pub(crate) fn new(request: &Request, question: Question) -> Self {
        Self { words: words(request), question }
    }

    /// Whether that was asked.
    pub(crate) fn is(&self, request: &Request) -> bool {
        self.words == words(request)
    }
}

/// All that rules look at in a request.
fn words(request: &Request) -> String {
    let mut words = String::with_capacity(512);
    say(&mut words, &request.class_name);
    say(&mut words, &request.name);
    for label in &request.labels {
        say(&mut words, &label.key);
        say(&mut words, &label.value);
    }
    say(&mut words, "");
    for peer in &request.peers {
        say(&mut words, &peer.class_name);
        say(&mut words, &peer.name);
        say(&mut words, &peer.host);
    }
    words
}

// Not inlined, for the component's size.
#[inline(never)]
fn say(words: &mut String, word: &str) {
    words.push_str(word);
    words.push('\0');
}
