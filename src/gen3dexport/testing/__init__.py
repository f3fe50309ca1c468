"""Contract tests for whoever writes a backend or a family. They need pytest.

A test module makes a class of its own from `BackendContract` or `FamilyContract`, gives three fixtures, and gets every
test of the contract:

    from gen3dexport.testing import BackendContract

    class TestContract(BackendContract):
        @pytest.fixture(scope="class")
        def backend(self): ...
"""

from __future__ import annotations

from gen3dexport.testing.backend_contract import BackendContract
from gen3dexport.testing.family_contract import FamilyContract

__all__ = ["BackendContract", "FamilyContract"]
