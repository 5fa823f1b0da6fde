"""Train a recogniser, a language model or a text classifier, test it, leave a model folder: a recipe's story.

python train.py RECIPE.yaml [--key=value ...] [--option ...]
torchrun --nproc_per_node=2 train.py RECIPE.yaml ...

Recipes stand in hparams/; any key of one can be given here. Options of a run:
  --device=cpu|cuda|cuda:1     --precision=auto|fp32|bf16|fp16     --eval_precision=auto|fp32|bf16|fp16
  --compile                    let torch.compile make the training step faster
  --record=RESULTS.md          add the run's rows to a file of results
  --debug                      a few short batches of everything, in <output_folder>_debug
  --test_only                  average the kept checkpoints and test again
  --noprogressbar
"""

import signal
import sys
from pathlib import Path

from hyperconformer.errors import InputError
from hyperconformer.training import distributed
from hyperconformer.training.asr import ASRTask
from hyperconformer.training.command import CommandLine
from hyperconformer.training.files import FULL
from hyperconformer.training.lm import LanguageModelTask
from hyperconformer.training.progress import Stopped
from hyperconformer.training.task import Task, close_task, open_task
from hyperconformer.training.text import ClassificationTask

TASKS: dict[str, type[Task]] = {"asr": ASRTask, "lm": LanguageModelTask, "classify": ClassificationTask}


def train(line: CommandLine) -> Path:
    """Follow one recipe from its YAML to its model folder."""
    task = open_task(line, TASKS)  # arguments -> YAML -> settings, device, the other processes
    model = task.make_model()  # sizes that cannot be end here, before anything slow
    data = task.prepare()  # corpus, manifests, tokens
    if distributed.is_main():
        print(data)

    brain = task.make_brain(model, data)
    if not brain.resume():
        task.start(brain, data)
    epochs = range(1, task.settings.number_of_epochs + 1)
    brain.fit(epochs, task.train_loader(data), task.valid_loader(data))

    brain.load_best(task.settings.average_checkpoints)
    metrics = task.finish(brain, data)  # test, reports, model folder
    return close_task(task, metrics)


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(__doc__))
    try:
        train(CommandLine.parse(sys.argv[1:]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL:
            raise
        print(f"error: {error}: make room and give the same command again", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    finally:
        distributed.leave()
