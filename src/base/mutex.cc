// Locks and conditions under a simulation. The native mutex is taken all the same: so a thread
// outside the simulation is kept out as well, and the sanitizers see what they know.
#include "base/mutex.h"

namespace lamina::base {

void Mutex::TakeUnder(ScheduleHook* hook) {
  while (!mutex_.try_lock()) hook->WaitForLock(this);
  hook->Acquired(this, /*shared=*/false);
}

void Mutex::LockUnder(ScheduleHook* hook) {
  hook->Yield("lock");
  TakeUnder(hook);
}

bool Mutex::TryLockUnder(ScheduleHook* hook) {
  hook->Yield("try_lock");
  if (!mutex_.try_lock()) return false;
  hook->Acquired(this, /*shared=*/false);
  return true;
}

void Mutex::UnlockUnder(ScheduleHook* hook) {
  mutex_.unlock();
  hook->Released(this, /*shared=*/false);
  hook->Yield("unlock");
}

void SharedMutex::LockUnder(ScheduleHook* hook) {
  hook->Yield("lock");
  while (!mutex_.try_lock()) hook->WaitForLock(this);
  hook->Acquired(this, /*shared=*/false);
}

void SharedMutex::UnlockUnder(ScheduleHook* hook) {
  mutex_.unlock();
  hook->Released(this, /*shared=*/false);
  hook->Yield("unlock");
}

void SharedMutex::LockSharedUnder(ScheduleHook* hook) {
  hook->Yield("lock_shared");
  while (!mutex_.try_lock_shared()) hook->WaitForLock(this);
  hook->Acquired(this, /*shared=*/true);
}

void SharedMutex::UnlockSharedUnder(ScheduleHook* hook) {
  mutex_.unlock_shared();
  hook->Released(this, /*shared=*/true);
  hook->Yield("unlock_shared");
}

bool CondVar::WaitUnder(ScheduleHook* hook, Mutex* mutex, int64_t micros) {
  mutex->mutex_.unlock();
  hook->Released(mutex, /*shared=*/false);
  const bool notified = hook->WaitForCondition(this, micros);
  mutex->TakeUnder(hook);
  return notified;
}

void CondVar::NotifyUnder(ScheduleHook* hook, bool all) {
  hook->Notify(this, all);
  hook->Yield("signal");
}

}  // namespace lamina::base
