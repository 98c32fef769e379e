from pathlib import Path

import pytest
import torch

from learning import a_model_folder

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that no test writes to."""
    return a_model_folder(tmp_path_factory.mktemp("model"))
