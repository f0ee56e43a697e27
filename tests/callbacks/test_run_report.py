import lightning
import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from callbacks import RunReport
from tests.support.training import data, fit, module


class Interrupt(lightning.Callback):
    """Fails when the second iteration begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")


def test_an_interrupted_run_has_a_report_that_says_so(tmp_path):
    with pytest.raises(RuntimeError):
        fit(module(), data(), 3, [RunReport(), Interrupt()], TensorBoardLogger(tmp_path, "name"), tmp_path)
    report = (tmp_path / "name/version_0/report.md").read_text()
    assert "Ended early: RuntimeError power cut" in report
    assert [line.split("|")[1].strip() for line in report.splitlines() if line.startswith("| ")] == [
        "iteration",
        "0",
        "1",
    ]
