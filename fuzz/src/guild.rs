//! Guild specs. Texts refer to no file here: there is no folder to start from.

use guildhall::spec::{GuildSpec, MAX_SPEC_BYTES, SpecError};

pub(crate) fn yaml(text: &[u8]) -> bool {
    judge(GuildSpec::from_yaml(text))
}

pub(crate) fn json(text: &[u8]) -> bool {
    judge(GuildSpec::from_json(text))
}

fn judge(read: Result<GuildSpec, SpecError>) -> bool {
    match read {
        Ok(guild) => {
            let text = guild.json();
            assert!(text.as_str().len() <= MAX_SPEC_BYTES);
            let again = GuildSpec::from_json(text.as_str()).expect("a spec survives its own JSON");
            assert_eq!(again, guild);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
