//! The documentation's recipes do what it says, and nothing in them is idle.

use std::collections::BTreeSet;

use secondkey::core::policy::PolicySet;
use secondkey::core::policy::cases::Cases;
use secondkey::exec::ParsePool;

use crate::support::checkout;

/// A policy and the cases that follow it.
struct Recipe {
    title: String,
    policy: String,
    cases: String,
}

/// Every `cedar` block of the page, with the `toml` block after it.
fn recipes(page: &str) -> Vec<Recipe> {
    let mut found = Vec::new();
    for part in page.split("\n### ").skip(1) {
        let block = |language: &str| {
            let start = format!("```{language}\n");
            let after = part.split(&start).nth(1).expect("a block of each kind");
            after.split("```").next().unwrap().to_owned()
        };
        found.push(Recipe {
            title: part.lines().next().unwrap().to_owned(),
            policy: block("cedar"),
            cases: block("toml"),
        });
    }
    found
}

#[tokio::test]
async fn every_recipe_of_the_documentation_does_what_it_says() {
    let page = std::fs::read_to_string(checkout().join("docs/policy.md")).unwrap();
    let recipes = recipes(&page);
    assert_eq!(recipes.len(), page.matches("```cedar").count());
    assert!(recipes.len() >= 5);
    let parser = ParsePool::start().unwrap();
    for recipe in recipes {
        let title = &recipe.title;
        let policy = PolicySet::load(&recipe.policy, title, None)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let mut decided = BTreeSet::new();
        for case in Cases::parse(&recipe.cases).unwrap().list {
            let statement = parser.parse(case.engine, &case.sql).await.unwrap();
            let answer = case.ask(&policy, &statement).unwrap().judgement;
            assert_eq!(case.objection(&answer), None, "{title}: {}", case.sql);
            decided.extend(answer.rules);
        }
        assert_eq!(
            decided.len(),
            policy.len(),
            "{title}: only {decided:?} decide"
        );
    }
}
