//! `combine`: one verdict from a network's and what was measured.

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Planner, Ports, RowKey, Setting, Signature, Transform, Value,
    Wish,
};
use serde_json::{Map, Value as Json, json};

use crate::demand::RuleWish;
use crate::kinds::{MEASUREMENT, MEASUREMENTS, VERDICT, VERDICTS, Verdict, rounded};
use crate::rule::{NETWORK, RULE_FILE, Rule, log_odds};

/// The `combine` operator.
pub const COMBINE: OperatorSpec = OperatorSpec {
    name: "combine",
    summary: "lets a verdict rest on the network and on measured signals",
    doc: "\
Takes the verdict of a `classify` stage and those of one or two `measure` stages over the same clip (or the same windows), and \
gives one verdict under the classifier's key, in the same form: `{\"result\": {label: probability}, \"label\", \"prob\"}`, with an \
`evidence` object that says what went in: the network's own probability and each signal.

The rule is `combine.json` in the model's folder: for each input a scale that says what its values stand for, a \
weight for that and its square, and a few small trees. It is fitted with `clipsieve-training fit-combine`. \
Values beyond the ends of the scale count as its ends; a signal that is not there counts as the rule says. The `measure` stages \
must sample as those of the training did (the page of `measure`), for most signals depend on the size of the frames.

A rule is for networks with two labels: it gives the probability of one, and the other gets the rest.",
    example: "simcam: { op: combine, from: [network, measured], with: { model: simcam } }",
    ports: Ports::Fixed(&[
        Signature { inputs: &[VERDICT, MEASUREMENT], output: Some(VERDICT) },
        Signature { inputs: &[VERDICT, MEASUREMENT, MEASUREMENT], output: Some(VERDICT) },
        Signature { inputs: &[VERDICTS, MEASUREMENTS], output: Some(VERDICTS) },
        Signature { inputs: &[VERDICTS, MEASUREMENTS, MEASUREMENTS], output: Some(VERDICTS) },
    ]),
    params: &[
        ParamSpec {
            name: "model",
            ty: ParamType::Model,
            fallback: Fallback::Required,
            unit: None,
            doc: "The model whose folder holds the rule, by its name under `models:`.",
        },
        ParamSpec {
            name: "key",
            ty: ParamType::Text,
            fallback: Fallback::Absent,
            unit: None,
            doc: "Key of the verdict in the row's `info`, where the network's own verdict is to stay beside it. Default: that one's.",
        },
    ],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(check),
    demand: Some(demand),
    planner: Planner {
        // Without one of its own, that of the network's verdict, whose place the answer takes.
        row_key: Some(row_key),
        row_key_of_input: Some(0),
        ..Planner::NONE
    },
    build,
};

/// What the rule needs: the signals, for `measure` to compute them, and the labels that the network must tell.
fn demand(setting: &Setting<'_>, _: &[Wish]) -> Result<Option<Json>, Finding> {
    let model = setting.models.get(setting.params.text("model"));
    let found = model.and_then(|model| Some((model, rule(setting).ok()?)));
    Ok(found.map(|(model, rule)| {
        let wish = RuleWish {
            labels: RuleWish::labels_of(model),
            signals: rule.signals().map(str::to_owned).collect(),
            measures: setting.inputs.len().saturating_sub(1),
        };
        wish.to_json()
    }))
}

/// The rule of the stage's model.
fn rule(setting: &Setting<'_>) -> Result<Rule, String> {
    let name = setting.params.text("model");
    let model = setting
        .models
        .get(name)
        .ok_or_else(|| format!("no model is called `{name}`"))?;
    let rule = Rule::read(&model.path)?;
    let labels = RuleWish::labels_of(model);
    if labels.len() != 2 || !labels.contains(&rule.label) {
        return Err(format!(
            "{RULE_FILE} of `{name}` is about the label `{}`, and the model has {}",
            rule.label,
            labels.join(", ")
        ));
    }
    Ok(rule)
}

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let found = setting
        .models
        .get(setting.params.text("model"))
        .map(|_| rule(setting));
    match found {
        Some(Err(reason)) => vec![
            Finding::param("model", reason)
                .with_help("fit a rule with `clipsieve-training fit-combine`, or take the `classify` stage's verdict as it is"),
        ],
        _ => Vec::new(),
    }
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let rule = rule(&context.setting).map_err(OperatorError::config)?;
    let key = row_key(&context.setting).map(|own| own.key);
    Ok(Operator::Transform(Box::new(Combine { rule, key })))
}

/// The key of the verdict, if the stage says one.
fn row_key(setting: &Setting<'_>) -> Option<RowKey> {
    Some(RowKey {
        key: setting.params.opt_text("key")?.to_owned(),
        param: Some("key"),
    })
}

struct Combine {
    rule: Rule,
    /// The key of the verdict; `None` for that of the network's.
    key: Option<String>,
}

/// What a `classify` stage says of a clip, if this is that.
fn is_verdict(body: &Map<String, Json>) -> bool {
    body.get("result").is_some_and(Json::is_object)
}

/// What a segment's object holds beside its span: the key and body of what a filter says.
fn inner(segment: &Json) -> Option<(&String, &Map<String, Json>)> {
    let (key, body) = segment
        .as_object()?
        .iter()
        .find(|(key, _)| *key != "duration")?;
    Some((key, body.as_object()?))
}

impl Combine {
    /// The body of one clip's verdict from the network's and the measured ones.
    fn judge(
        &self,
        network: &Map<String, Json>,
        measured: &[&Map<String, Json>],
    ) -> Result<Json, OperatorError> {
        let result = network.get("result").and_then(Json::as_object);
        let (result, probability) = result
            .and_then(|result| Some((result, result.get(&self.rule.label)?.as_f64()?)))
            .ok_or_else(|| {
                OperatorError::bad_input(format!(
                    "the first input says nothing of the label `{}`",
                    self.rule.label
                ))
            })?;
        let signal = |name: &str| {
            measured
                .iter()
                .find_map(|body| body.get("result")?.get(name))
                .ok_or_else(|| {
                    OperatorError::config(format!(
                        "no input measures `{name}`, which the rule needs"
                    ))
                })
        };
        let mut signals = Map::new();
        for name in self.rule.signals() {
            signals.insert(name.to_owned(), signal(name)?.clone());
        }
        let value_of = |name: &str| match name {
            NETWORK => Some(log_odds(probability)),
            name => signals.get(name).and_then(Json::as_f64),
        };
        let combined = rounded(self.rule.probability(value_of), 6);
        let of = |label: &String| {
            if *label == self.rule.label {
                combined
            } else {
                rounded(1.0 - combined, 6)
            }
        };
        let best = result.keys().max_by(|a, b| of(a).total_cmp(&of(b)));
        let judged: Map<String, Json> = result
            .keys()
            .map(|label| (label.clone(), json!(of(label))))
            .collect();
        Ok(json!({
            "result": judged,
            "label": best,
            "prob": best.map(of),
            "evidence": { "network": probability, "signals": signals },
        }))
    }
}

impl Transform for Combine {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let verdicts = inputs
            .iter()
            .map(Value::get)
            .collect::<Result<Vec<&Verdict>, _>>()?;
        let [network, measured @ ..] = verdicts.as_slice() else {
            return Err(OperatorError::internal(
                "combine takes a verdict and what was measured",
            ));
        };
        let key = || self.key.clone().unwrap_or_else(|| network.key.clone());
        if is_verdict(&network.body) {
            let measured: Vec<_> = measured.iter().map(|verdict| &verdict.body).collect();
            let Json::Object(body) = self.judge(&network.body, &measured)? else {
                return Err(OperatorError::internal("a verdict is an object"));
            };
            return Ok(Outcome::value(Verdict { key: key(), body }));
        }
        let mut body = Map::new();
        for (index, segment) in &network.body {
            let of_segment = |verdict: &&Verdict| {
                let other = verdict.body.get(index)?;
                let is_same = other["duration"] == segment["duration"];
                inner(other)
                    .filter(|_| is_same)
                    .map(|(_, body)| body.clone())
            };
            let bodies: Option<Vec<_>> = measured.iter().map(of_segment).collect();
            let (Some((key, said)), Some(bodies)) = (inner(segment), bodies) else {
                return Err(OperatorError::bad_input(format!(
                    "window {index} is not in all inputs: they must come from the same `windows` of one length and stride"
                )));
            };
            let judged = self.judge(said, &bodies.iter().collect::<Vec<_>>())?;
            body.insert(
                index.clone(),
                json!({ "duration": segment["duration"], key: judged }),
            );
        }
        Ok(Outcome::value(Verdict { key: key(), body }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clipsieve_engine::operator::{Model, Models, ParamValue, Params, Stores};

    use super::*;
    use crate::rule::{Input, Scale};

    /// Runs the operator with this rule (label `bad`; the network's log-odds less three times the motion) over verdicts.
    fn apply(verdicts: &[Verdict]) -> Result<Verdict, OperatorError> {
        apply_with(&params(), verdicts)
    }

    fn apply_with(params: &Params, verdicts: &[Verdict]) -> Result<Verdict, OperatorError> {
        let folder = tempfile::tempdir().expect("a folder");
        write_rule(folder.path(), "bad");
        let models = models(folder.path());
        let setting = Setting {
            stage: "combined",
            params,
            inputs: &[VERDICT, MEASUREMENT],
            models: &models,
            stores: &Stores::new(),
        };
        let inputs: Vec<Value> = verdicts.iter().cloned().map(Value::new).collect();
        crate::test_stage::verdict(build, setting, &inputs)
    }

    fn write_rule(folder: &Path, label: &str) {
        let input = |name: &str, weight: f64| Input {
            name: name.to_owned(),
            scale: Scale(vec![(-9.0, -9.0), (9.0, 9.0)]),
            weight,
            square: 0.0,
            missing: 0.0,
        };
        let rule = Rule {
            label: label.to_owned(),
            bias: 0.0,
            inputs: vec![input(NETWORK, 1.0), input("motion", -3.0)],
            trees: Vec::new(),
        };
        let text = serde_json::to_string(&rule).expect("JSON");
        std::fs::write(folder.join(RULE_FILE), text).expect("written");
    }

    fn models(folder: &Path) -> Models {
        let model = Model {
            path: folder.to_owned(),
            elsewhere: std::collections::BTreeMap::new(),
            facts: json!({ "labels": ["good", "bad"] }),
            store: None,
        };
        Models::from([("net".to_owned(), model)])
    }

    fn params() -> Params {
        let mut params = Params::default();
        params.insert("model", ParamValue::Text("net".to_owned()));
        params
    }

    fn verdict(key: &str, body: Json) -> Verdict {
        let Json::Object(body) = body else {
            panic!("an object");
        };
        Verdict {
            key: key.to_owned(),
            body,
        }
    }

    fn network(bad: f64) -> Json {
        json!({ "result": { "good": 1.0 - bad, "bad": bad }, "label": "bad", "prob": bad })
    }

    fn measured(motion: Json) -> Json {
        json!({ "result": { "sharpness": 0.3, "motion": motion }, "label": "unjudged", "reasons": [] })
    }

    #[test]
    fn a_signal_turns_the_networks_word_and_both_are_shown() {
        let said = apply(&[
            verdict("net_filter", network(0.8)),
            verdict("measure", measured(json!(1.0))),
        ])
        .expect("combined");
        assert_eq!(said.key, "net_filter");
        // ln(0.8 / 0.2) - 3 = -1.614: a probability of 0.166.
        assert_eq!(
            Json::Object(said.body),
            json!({
                "result": { "good": 0.833925, "bad": 0.166075 },
                "label": "good",
                "prob": 0.833925,
                "evidence": { "network": 0.8, "signals": { "motion": 1.0 } },
            })
        );
        let unmoved = apply(&[
            verdict("net_filter", network(0.8)),
            verdict("measure", measured(Json::Null)),
        ]);
        assert_eq!(unmoved.expect("combined").body["prob"], json!(0.8));
    }

    #[test]
    fn a_key_of_its_own_lets_the_networks_verdict_stay_beside_it() {
        let inputs = [
            verdict("net_filter", network(0.8)),
            verdict("measure", measured(json!(1.0))),
        ];
        let mut named = params();
        named.insert("key", ParamValue::Text("both".to_owned()));
        let own = apply_with(&named, &inputs).expect("combined");
        assert_eq!(own.key, "both");
        assert_eq!(own.body, apply(&inputs).expect("combined").body);
    }

    #[test]
    fn windows_are_combined_one_by_one() {
        let windows = |key: &str, bodies: [Json; 2]| {
            json!({
                "0": { "duration": [0, 4], key: bodies[0] },
                "1": { "duration": [3, 7], key: bodies[1] },
            })
        };
        let seg_network = verdict(
            "seg_net_filter",
            windows("net_filter", [network(0.8), network(0.1)]),
        );
        let moving = [measured(json!(0.0)), measured(json!(-1.0))];
        let seg_measured = verdict("seg_measure", windows("measure", moving));
        let said = apply(&[seg_network.clone(), seg_measured.clone()]).expect("combined");
        assert_eq!(said.key, "seg_net_filter");
        assert_eq!(said.body["0"]["net_filter"]["prob"], json!(0.8));
        assert_eq!(said.body["1"]["duration"], json!([3, 7]));
        assert_eq!(said.body["1"]["net_filter"]["label"], "bad");
        let mut short = seg_measured.clone();
        short.body.remove("1");
        let mut other_stride = seg_measured;
        other_stride.body["1"]["duration"] = json!([2, 6]);
        for wrong in [short, other_stride] {
            let error = apply(&[seg_network.clone(), wrong]).expect_err("windows that do not fit");
            assert!(error.full_message().contains("window 1"), "{error}");
        }
    }

    #[test]
    fn what_the_rule_needs_and_is_not_there_is_an_error() {
        let other = json!({ "result": { "sharpness": 0.3 } });
        let error = apply(&[
            verdict("net_filter", network(0.8)),
            verdict("measure", other),
        ]);
        let said = error.expect_err("no motion").full_message();
        assert!(said.contains("no input measures `motion`"), "{said}");
    }

    #[test]
    fn check_finds_a_model_without_a_rule_or_with_that_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let messages = || -> Vec<String> {
            let findings = check(&Setting {
                stage: "combined",
                params: &params(),
                inputs: &[VERDICT, MEASUREMENT],
                models: &models(folder.path()),
                stores: &Stores::new(),
            });
            findings.into_iter().map(|found| found.message).collect()
        };
        assert!(messages()[0].contains(RULE_FILE), "{:?}", messages());
        write_rule(folder.path(), "ugly");
        assert!(messages()[0].contains("`ugly`"), "{:?}", messages());
        write_rule(folder.path(), "bad");
        assert!(messages().is_empty());
    }
}
