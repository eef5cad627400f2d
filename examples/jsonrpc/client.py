"""Asks the example `jsonrpc`, or any node of Ethereum, with web3.py: pip install web3

    python3 client.py /tmp/node.ipc

It prints what each of web3's two providers for Unix sockets was answered, and what a batch was.
"""

import asyncio
import sys

from web3 import AsyncIPCProvider, AsyncWeb3, IPCProvider, Web3
from web3.exceptions import MethodUnavailable


def ask(path):
    w3 = Web3(IPCProvider(path))
    print("sync connected", w3.is_connected())
    print("sync version", w3.client_version)
    print("sync chain", w3.eth.chain_id, w3.net.version)
    print("sync block", w3.eth.block_number)
    # Longer than one read of the client.
    with w3.batch_requests() as batch:
        for _ in range(200):
            batch.add(w3.eth.chain_id)
            batch.add(w3.eth.block_number)
        answers = batch.execute()
    print("sync batch", len(answers), set(answers[0::2]))
    try:
        w3.eth.get_balance("0x" + "00" * 20)
    except MethodUnavailable as error:
        print("sync error", error.rpc_response["error"])


async def ask_async(path):
    async with AsyncWeb3(AsyncIPCProvider(path)) as w3:
        print("async connected", await w3.is_connected())
        print("async version", await w3.client_version)
        print("async chain", await w3.eth.chain_id, await w3.net.version)
        # At once, on one connection.
        chains = await asyncio.gather(*(w3.eth.chain_id for _ in range(100)))
        print("async at once", len(chains), set(chains))
        async with w3.batch_requests() as batch:
            for _ in range(200):
                batch.add(w3.eth.chain_id)
            answers = await batch.async_execute()
        print("async batch", len(answers), set(answers))
        try:
            await w3.eth.get_balance("0x" + "00" * 20)
        except MethodUnavailable as error:
            print("async error", error.rpc_response["error"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    ask(sys.argv[1])
    asyncio.run(ask_async(sys.argv[1]))
