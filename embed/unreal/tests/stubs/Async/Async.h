#pragma once

#include "CoreMinimal.h"

enum class EAsyncExecution { Thread };
namespace ENamedThreads {
enum Type { GameThread };
}

// The game's thread: what is sent to it runs when the test lets it.
struct GameThreadStub {
  std::mutex lock;
  std::condition_variable sent;
  std::deque<std::function<void()>> tasks;
  std::vector<std::thread> threads;

  static GameThreadStub& one() {
    static GameThreadStub only;
    return only;
  }
  void run_next() {
    std::unique_lock<std::mutex> held(lock);
    sent.wait(held, [this] { return !tasks.empty(); });
    auto task = std::move(tasks.front());
    tasks.pop_front();
    held.unlock();
    task();
  }
  void join() {
    for (auto& thread : threads) thread.join();
    threads.clear();
  }
};

template <class Work>
void Async(EAsyncExecution, Work work) {
  GameThreadStub::one().threads.emplace_back(std::move(work));
}

template <class Work>
void AsyncTask(ENamedThreads::Type, Work work) {
  auto& game = GameThreadStub::one();
  const std::lock_guard<std::mutex> held(game.lock);
  game.tasks.emplace_back(std::move(work));
  game.sent.notify_one();
}
