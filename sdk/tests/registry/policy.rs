//! The policy that is named for the whole fleet.

use guildhall::placement::{BuiltIn, PolicyArtifact};

use crate::backends::{Pair, both};

both!(what_is_published_is_what_others_read);

async fn what_is_published_is_what_others_read([ours, theirs]: Pair) {
    assert_eq!(theirs.published_policy().await.unwrap(), None);
    assert_eq!(theirs.published_digest().await.unwrap(), None);
    let bare = PolicyArtifact::new("mine", [0, 0xff, b'\n'].to_vec());
    let mut whole = bare.clone().with_settings(serde_json::json!({"zones": ["a", "b"]}));
    whole.signature = Some(vec![0xfe; 64]);
    let built_in = PolicyArtifact::from(BuiltIn::LeastLoaded);
    // Each replaces all of the one before.
    for policy in [&whole, &bare, &built_in, &whole] {
        ours.publish_policy(Some(policy)).await.unwrap();
        assert_eq!(theirs.published_policy().await.unwrap().as_ref(), Some(policy));
        assert_eq!(theirs.published_digest().await.unwrap(), Some(policy.digest()));
    }
    ours.publish_policy(None).await.unwrap();
    assert_eq!(theirs.published_policy().await.unwrap(), None);
    assert_eq!(theirs.published_digest().await.unwrap(), None);
}
