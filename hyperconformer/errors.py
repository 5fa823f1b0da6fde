"""The one exception that a person at the keyboard is meant to read."""


class InputError(ValueError):
    """Bad input, said in one line that names the offender and the remedy.

    The command line prints the message without a traceback and exits with status 2;
    anything else that escapes is a bug and keeps its traceback.

    Examples
    --------
    >>> raise InputError("data_folder 'x' does not exist: point --data_folder at LibriSpeech")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder 'x' does not exist: point --data_folder at LibriSpeech
    """
