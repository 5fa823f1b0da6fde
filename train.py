"""Train a recogniser, test it, and leave a model folder behind: the whole story of a recipe.

python train.py RECIPE.yaml [--key=value ...] [--option ...]

Recipes stand in hparams/; any key of one can be given here. Options of a run:
  --device=cpu|cuda|cuda:1     --precision=auto|fp32|bf16|fp16     --eval_precision=auto|fp32|bf16|fp16
  --compile                    let torch.compile make the training step faster
  --debug                      a few short batches of everything, in a folder of its own
  --test_only                  average the kept checkpoints and test again
  --noprogressbar
"""

import signal
import sys
from dataclasses import replace
from pathlib import Path

from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.training import distributed
from hyperconformer.training.brain import ASRBrain
from hyperconformer.training.command import CommandLine
from hyperconformer.training.corpus import make_tokenizer, prepare_splits, trainable
from hyperconformer.training.experiment import open_folder, record_settings
from hyperconformer.training.progress import Stopped
from hyperconformer.training.report import closing_table, model_card, report_split, run_metrics
from hyperconformer.training.searcher import make_searches
from hyperconformer.training.settings import load_settings
from hyperconformer.training.setup import (
    check_hardware,
    make_model,
    measure_features,
    plain_loader,
    seed_everything,
    training_loader,
)

DEBUG_UTTERANCES = 16


def train(line: CommandLine) -> Path:
    """Follow one recipe from its YAML to its model folder."""
    settings = load_settings(line.hparams_file, line.overrides)
    debug = line.run_options.get("debug", False)
    if debug and "output_folder" not in line.overrides:
        settings = replace(settings, output_folder=f"{settings.output_folder}_debug")
    run_options = check_hardware(line.run_options)
    seed_everything(settings.seed)
    model = make_model(settings)
    show = distributed.is_main() and not run_options.get("noprogressbar", False)
    splits = prepare_splits(settings, line.hparams_file, progress=show)
    open_folder(settings)
    tokenizer = make_tokenizer(settings, splits.train)
    if debug:
        splits = splits.shortest(DEBUG_UTTERANCES)
    if distributed.is_main():
        print(splits)

    train_utterances = trainable(splits.train, tokenizer, settings)
    record_settings(settings)
    brain = ASRBrain(model, tokenizer, settings, run_options)
    if not brain.resume():
        measure_features(model, train_utterances, tokenizer, settings)
    train_loader = training_loader(train_utterances, tokenizer, settings)
    brain.fit(
        range(1, settings.number_of_epochs + 1),
        train_loader,
        plain_loader(splits.valid, tokenizer, settings),
    )

    brain.load_best(settings.average_checkpoints)
    brain.searches = make_searches(brain.model, settings)
    results = {}
    for split, utterances in splits.tests.items():
        brain.evaluate(plain_loader(utterances, tokenizer, settings))
        if distributed.is_main():
            results[split] = report_split(split, brain.decoded, settings.folder)
    folder = settings.folder / "model"
    if distributed.is_main():
        metrics = run_metrics(settings, brain.model, tokenizer.size, results)
        save_bundle(folder, brain.model, tokenizer, metrics=metrics, card=model_card(metrics))
        print(closing_table(results))
        print(f"model folder: {folder}")
    return folder


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(__doc__))
    try:
        train(CommandLine.parse(sys.argv[1:]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    finally:
        distributed.leave()
