//! What is sent: courses of verifications, made of the samples in events/.

use std::{collections::BTreeMap, num::NonZeroUsize};

use anyhow::{Context as _, ensure};
use clap::Args;
use cli::sample::{ExpectedEvent, Sample};

/// How much is sent, and of what.
#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// How many callbacks are sent, copies and forged ones included.
    #[arg(long, value_name = "N", default_value = "3000")]
    pub callbacks: NonZeroUsize,
    /// How many verifications take their course at the same time.
    #[arg(long, value_name = "N", default_value = "8")]
    pub concurrency: NonZeroUsize,
    /// How many of a hundred callbacks are copies of another, sent at the same instant or later.
    #[arg(long, value_name = "PERCENT", default_value_t = 30, value_parser = clap::value_parser!(u8).range(..100))]
    pub duplicates: u8,
    /// How many of a hundred callbacks are forged: they bear no valid credential.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(..100))]
    pub forged: u8,
    /// How many of a hundred callbacks are huge: about 200 KB, those of wallets' verifications 1 to 2 MB. Their copies are too.
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(..=100))]
    pub huge: u8,
    /// What the courses are drawn by: with the same seed and options, and the same samples, they are the same [default: another one each time].
    #[arg(long)]
    pub seed: Option<u64>,
}

/// The callbacks about one verification, all of one function, in the order in which they are sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    pub(crate) callbacks: Vec<Callback>,
}

/// One callback, and its copies.
#[derive(Debug, Clone)]
pub(crate) struct Callback {
    /// What is sent, apart from whom it is about.
    pub(crate) sample: Sample,
    pub(crate) is_forged: bool,
    /// By how many bytes it is made longer.
    pub(crate) padding: usize,
    /// How many copies are sent at the same instant.
    pub(crate) copies_at_once: usize,
    /// How many copies are sent after everything else of the course.
    pub(crate) copies_later: usize,
}

impl Plan {
    /// The courses that this seed draws from these samples.
    pub(crate) fn courses(&self, samples: &[Sample], seed: u64) -> anyhow::Result<Vec<Course>> {
        let all = self.callbacks.get();
        let share = |percent: u8| all * usize::from(percent) / 100;
        let (duplicates, forged) = (share(self.duplicates), share(self.forged));
        let originals = all.saturating_sub(duplicates + forged);
        ensure!(originals > 0, "nothing but copies and forged callbacks: there have to be originals too");
        let mut by_function: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in samples {
            by_function.entry(&sample.function).or_default().push(sample);
        }
        let functions: Vec<&Vec<&Sample>> = by_function.values().collect();

        let mut rng = fastrand::Rng::with_seed(seed);
        let mut courses = Vec::new();
        let mut left = originals;
        while left > 0 {
            let samples = rng.choice(&functions).context("there are no samples to be sent")?;
            let course = Course::drawn(samples, rng.usize(1..=5).min(left), &mut rng);
            left -= course.callbacks.len();
            courses.push(course);
        }
        let callbacks = courses.iter_mut().flat_map(|course| &mut course.callbacks);
        for callback in rng.choose_multiple(callbacks, share(self.huge)) {
            callback.padding = if callback.sample.function == "wallet-verification" {
                rng.usize(1_000_000..2_000_000)
            } else {
                200_000
            };
        }
        for _ in 0..duplicates {
            let course = rng.choice(&mut courses).context("there are no courses")?;
            let callback = rng.choice(&mut course.callbacks).context("a course without callbacks")?;
            *(if rng.bool() { &mut callback.copies_at_once } else { &mut callback.copies_later }) += 1;
        }
        for _ in 0..forged {
            // About a verification that takes its course, where there is anything to say that nobody else says of it; else about nobody.
            let course = rng.choice(&mut courses).context("there are no courses")?;
            let function = course.callbacks.first().map(|callback| callback.sample.function.as_str());
            let samples =
                function.and_then(|function| by_function.get(function)).context("a course without samples")?;
            match course.unsaid(samples, &mut rng) {
                Some(sample) => {
                    let place = rng.usize(..=course.callbacks.len());
                    course.callbacks.insert(place, Callback::new(sample, true));
                }
                None => {
                    let sample = rng.choice(samples).context("there are no samples to be sent")?;
                    courses.push(Course { callbacks: vec![Callback::new(sample, true)] });
                }
            }
        }
        Ok(courses)
    }
}

impl Course {
    /// A course of so many callbacks, of three samples, so that some come again. Each is of another sample than the one before.
    fn drawn(samples: &[&Sample], callbacks: usize, rng: &mut fastrand::Rng) -> Self {
        let samples = rng.choose_multiple(samples, 3);
        let mut course = Self::default();
        while course.callbacks.len() < callbacks {
            let last = course.callbacks.last().map(|callback| &callback.sample.file);
            let others: Vec<&&Sample> = samples.iter().copied().filter(|sample| Some(&sample.file) != last).collect();
            let Some(sample) = rng.choice(others) else { break };
            course.callbacks.push(Callback::new(sample, false));
        }
        course
    }

    /// A sample that becomes another event than those in the course.
    fn unsaid<'a>(&self, samples: &[&'a Sample], rng: &mut fastrand::Rng) -> Option<&'a Sample> {
        let said: Vec<ExpectedEvent> = self.callbacks.iter().filter_map(|callback| news(&callback.sample)).collect();
        let is_unsaid = |sample: &Sample| news(sample).is_some_and(|news| !said.contains(&news));
        rng.choice(samples.iter().copied().filter(|sample| is_unsaid(sample)).collect::<Vec<_>>())
    }
}

impl Callback {
    fn new(sample: &Sample, is_forged: bool) -> Self {
        Self { sample: sample.clone(), is_forged, padding: 0, copies_at_once: 0, copies_later: 0 }
    }
}

/// What a sample says, whomever it is about. The same event says the same.
fn news(sample: &Sample) -> Option<ExpectedEvent> {
    sample.expect.event.clone().map(|event| ExpectedEvent { subject: String::new(), ..event })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn courses(seed: u64) -> Vec<Course> {
        let samples = Sample::all(&cli::project_root().unwrap()).unwrap();
        let samples: Vec<Sample> = samples.into_iter().filter(|sample| sample.about("somebody").is_some()).collect();
        let number = |number| NonZeroUsize::new(number).unwrap();
        let plan =
            Plan { callbacks: number(2000), concurrency: number(1), duplicates: 30, forged: 10, huge: 5, seed: None };
        plan.courses(&samples, seed).unwrap()
    }

    fn callbacks(courses: &[Course]) -> impl Iterator<Item = &Callback> {
        courses.iter().flat_map(|course| &course.callbacks)
    }

    #[test]
    fn the_shares_are_what_is_asked_for() {
        let courses = courses(1);
        let copies = |callback: &Callback| callback.copies_at_once + callback.copies_later;
        let count = |is: fn(&&Callback) -> bool| callbacks(&courses).filter(is).count();
        assert_eq!(callbacks(&courses).map(|callback| 1 + copies(callback)).sum::<usize>(), 2000);
        assert_eq!(callbacks(&courses).map(copies).sum::<usize>(), 600);
        assert_eq!(count(|callback| callback.is_forged), 200);
        assert_eq!(count(|callback| callback.padding > 0), 100);
        assert!(count(|callback| callback.copies_at_once > 0) > 100);
        assert!(count(|callback| callback.copies_later > 0) > 100);
    }

    #[test]
    fn every_function_gets_its_share() {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for callback in callbacks(&courses(2)) {
            *counts.entry(callback.sample.function.clone()).or_default() += 1;
        }
        assert!(counts.len() == providers::COUNT && counts.values().all(|count| *count > 100), "{counts:?}");
    }

    #[test]
    fn a_seed_draws_the_same_courses_and_another_one_others() {
        let drawn = |seed| format!("{:?}", courses(seed));
        assert!(drawn(3) == drawn(3) && drawn(3) != drawn(4));
    }

    #[test]
    fn a_course_is_of_one_function_and_what_is_forged_in_it_nobody_else_says() {
        for course in courses(5) {
            let function = &course.callbacks[0].sample.function;
            assert!(course.callbacks.iter().all(|callback| callback.sample.function == *function));
            for forged in course.callbacks.iter().filter(|callback| callback.is_forged) {
                let says = |callback: &&Callback| news(&callback.sample) == news(&forged.sample);
                assert_eq!(course.callbacks.iter().filter(says).count(), 1, "{function}");
            }
        }
    }

    #[test]
    fn sessions_get_several_results_and_one_that_they_had_before() {
        let results = |course: &Course| -> Vec<ExpectedEvent> {
            let authentic = course.callbacks.iter().filter(|callback| !callback.is_forged);
            let news = authentic.filter_map(|callback| news(&callback.sample));
            news.filter(|news| news.kind == "identomat.session-change").collect()
        };
        let is_back = |results: &[ExpectedEvent]| results[0] == results[2] && results[0] != results[1];
        assert!(courses(6).iter().filter(|course| results(course).windows(3).any(is_back)).count() > 2);
    }
}
