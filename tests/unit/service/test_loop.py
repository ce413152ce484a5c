import pytest

from worker.config import Config
from worker.service import loop
from worker.storage.journal import PRUNE_EVERY


@pytest.mark.parametrize(("show", "times"), [(False, 1), (True, 50)])
def test_a_show_prunes_rarely(tmp_path, show, times):
    """As the setting's help says."""
    journal = loop._open_journal(Config(state=tmp_path, show=show), 9460)
    journal.close()
    assert journal._prune_every == times * PRUNE_EVERY
