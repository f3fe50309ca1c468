plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

// The runtime's version is that of the package that made the programs.
val executorch = providers.gradleProperty("gen3d.executorch").get()

android {
    namespace = "org.gen3dexport.app"
    compileSdk = 36
    ndkVersion = "27.0.12077973"

    defaultConfig {
        applicationId = providers.gradleProperty("gen3d.applicationId").get()
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        resValue("string", "runtime_version", "executorch-android $executorch")
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")  // what the AAR has
        }
        externalNativeBuild {
            cmake {
                // No C++ object crosses to another library, and the AAR's own libc++_shared.so is left to it.
                arguments += listOf("-DANDROID_STL=c++_static", "-DANDROID_SUPPORT_FLEXIBLE_PAGE_SIZES=ON")
                targets += listOf("gen3d_jni")
            }
        }
    }
    buildFeatures {
        resValues = true
    }
    buildTypes {
        release {
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }
    externalNativeBuild {
        cmake {
            path = file("src/main/cpp/CMakeLists.txt")
            version = "3.22.1"
        }
    }
    androidResources {
        noCompress += listOf("pte")
    }
    packaging {
        jniLibs {
            pickFirsts += listOf("**/libc++_shared.so")  // fbjni's and the AAR's are the same library
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    implementation("org.pytorch:executorch-android:$executorch")
    implementation("androidx.core:core:1.13.1")
    implementation("androidx.webkit:webkit:1.12.1")
}
