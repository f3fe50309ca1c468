using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Gen3d
{
    /// <summary>A bundle of gen3dexport for ExecuTorch. One thread at a time uses it; several may be open.</summary>
    public sealed class Bundle : IDisposable
    {
        private readonly BundleHandle handle;

        /// <summary>Opens a bundle's folder: its manifest is checked, no program is loaded.</summary>
        /// <exception cref="Gen3dException">When it is none, was changed, or needs what this build has not.</exception>
        public Bundle(string path)
        {
            var code = Native.gen3d_open(Native.Text(path, nameof(path)), out handle, out var message);
            Native.Check(code, message);
        }

        /// <summary>Versions of the library and of the runtime that it was built with.</summary>
        public static string Version
        {
            get { return Native.Read(Native.gen3d_version()) + " (executorch " + Native.Read(Native.gen3d_runtime_version()) + ")"; }
        }

        /// <summary>So many threads run programs in the whole process; 0 for the runtime's choice. Before programs are loaded.</summary>
        public static void SetThreads(int count)
        {
            if (count < 0) throw new ArgumentOutOfRangeException(nameof(count));
            Native.Check(Native.gen3d_set_threads((uint)count), IntPtr.Zero);
        }

        /// <summary>Checks every file of a bundle's folder.</summary>
        public static void Verify(string path)
        {
            var code = Native.gen3d_verify(Native.Text(path, nameof(path)), out var message);
            Native.Check(code, message);
        }

        /// <summary>What it is, as a JSON object.</summary>
        public string Info()
        {
            return Native.Take(Native.gen3d_info(handle));
        }

        /// <summary>Loads every program now, for runs that keep them.</summary>
        public void Load()
        {
            var code = Native.gen3d_load(handle, out var message);
            Native.Check(code, message);
        }

        /// <summary>Makes an asset; blocks until it is made.</summary>
        /// <param name="prompt">What to make.</param>
        /// <param name="seed">The same seed makes the same asset.</param>
        /// <param name="progress">Called on this thread before each call of a program: its component, and the share done.</param>
        /// <param name="keepPrograms">Keep programs loaded for the next asset.</param>
        /// <param name="cancel">Stops the run at the next call of a program.</param>
        /// <exception cref="OperationCanceledException">When it was stopped.</exception>
        /// <exception cref="Gen3dException">When the library refuses.</exception>
        public Asset Run(string prompt, ulong seed = 0, Action<string, double> progress = null, bool keepPrograms = false,
                         CancellationToken cancel = default(CancellationToken))
        {
            cancel.ThrowIfCancellationRequested();
            var text = GCHandle.Alloc(Native.Text(prompt, nameof(prompt)), GCHandleType.Pinned);
            var watch = new Watch { Progress = progress, Cancel = cancel };
            var context = GCHandle.Alloc(watch);
            try
            {
                var request = new Native.Request
                {
                    Size = (UIntPtr)(ulong)Marshal.SizeOf(typeof(Native.Request)),
                    Prompt = text.AddrOfPinnedObject(),
                    Seed = seed,
                    KeepPrograms = keepPrograms ? 1 : 0,
                    Progress = Marshal.GetFunctionPointerForDelegate(Step),
                    Context = GCHandle.ToIntPtr(context)
                };
                var code = Native.gen3d_run(handle, ref request, out var asset, out var message);
                string said = Native.Take(message);
                if (code == Code.Ok) return new Asset(asset);
                asset.Dispose();
                if (watch.Thrown != null) throw new InvalidOperationException("the progress callback failed: " + watch.Thrown.Message, watch.Thrown);
                if (code == Code.Cancelled) throw new OperationCanceledException(said, cancel);
                throw new Gen3dException(code, said);
            }
            finally
            {
                context.Free();
                text.Free();
            }
        }

        /// <summary>What a run's callback needs.</summary>
        private sealed class Watch
        {
            internal Action<string, double> Progress;
            internal CancellationToken Cancel;
            internal Exception Thrown;
        }

        private static readonly Native.Progress Step = OnStep;  // held: the library has no reference that counts

        [MonoPInvokeCallback(typeof(Native.Progress))]
        private static int OnStep(IntPtr context, IntPtr component, double done)
        {
            var watch = (Watch)GCHandle.FromIntPtr(context).Target;
            try
            {
                if (watch.Cancel.IsCancellationRequested) return 1;
                if (watch.Progress != null) watch.Progress(Native.Read(component), done);
                return watch.Cancel.IsCancellationRequested ? 1 : 0;
            }
            catch (Exception error)  // must not leave through the library's frames
            {
                watch.Thrown = error;
                return 1;
            }
        }

        /// <summary>Closes it.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
